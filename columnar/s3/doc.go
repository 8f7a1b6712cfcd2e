// Package s3 keeps objects in a bucket of any server that speaks S3.
//
// An object up to one part long is one PutObject; a longer one is a multipart upload whose part loop is our own: at most two parts
// are on their way while a third one fills, so an upload holds at most three part buffers (24 MiB with parts of 8 MiB). Parts grow
// with the size hint so that 10,000 of them suffice; the bound grows with them. An upload uses its buffers again; at its end they go
// to a pool of the store.
//
// No write goes over an object that exists: PutObject and CompleteMultipartUpload carry If-None-Match. Some servers ignore that on
// the second; therefore the object is looked for before, and Check tells. Each upload marks its object with a random number in the
// metadata; after a lost answer that tells whether the object that is there is the one just sent. Nothing else is put into headers,
// tags or metadata (D14).
//
// Each body carries its CRC32C in a header, never in a trailer: bodies are buffers, so plain HTTP and servers that know no trailers
// work alike. The sum catches damage on the way early; what came back is believed only for its hash in the manifest (D17).
//
// Tries: up to six, with full jitter between them, within 60 s in all plus the time that the bytes take at 16 KiB/s. A try that
// moves less than 32 KiB in 30 s is ended. The SDK's own retries are off. After the last try the failure is fault.Unavailable.
//
// Addresses: https only, and only what internal/netguard lets through, judged on the address dialled. Redirects are not followed,
// proxy variables and all other settings of the environment are ignored (L14).
package s3
