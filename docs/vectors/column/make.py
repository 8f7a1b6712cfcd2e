"""Makes the vectors of ../pme and of this folder that need nothing of Coldframe: a second implementation of docs/column.md and
docs/column-encryption.md, in Python with `cryptography`. part*.json are the agent's own. Run it here; it writes the same bytes each time."""
import hashlib, json, struct
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

here = __import__("pathlib").Path(__file__).parent


def save(path, **fields):
    (here / path).write_text(json.dumps(fields, indent=2) + "\n")


def cbor(value):
    """Deterministic CBOR (RFC 8949, 4.2) of arrays, text and whole numbers."""
    def head(major, n):
        for limit, code, form in ((24, None, ""), (1 << 8, 24, ">B"), (1 << 16, 25, ">H"), (1 << 32, 26, ">I"), (1 << 64, 27, ">Q")):
            if n < limit:
                return bytes([major << 5 | (n if code is None else code)]) + (struct.pack(form, n) if form else b"")
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    return head(3, len(value.encode())) + value.encode() if isinstance(value, str) else head(0, value)


def hkdf(key, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def prefix(dataset, version, part):
    return hashlib.sha256(cbor([dataset, version, part])).digest()


dataset, part = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst", "mfrggzdfmztwq2lknnwg23tpoa"
for name, version in ("small", 7), ("large", 2**53 - 1):
    save(f"aad-prefix-{name}.json", kind="aad prefix", dataset=dataset, version=version, part=part, aad_prefix=prefix(dataset, version, part).hex())

key, key_id = bytes(range(32)), "0f5c1a52-6a1e-4f0e-9f43-2b8a6c1d7e90"
info = b"coldframe/v1/seal/commitment\0" + struct.pack(">I", len(key_id)) + key_id.encode()
save("key-commitment.json", kind="key commitment", key=key.hex(), key_id=key_id, commitment=hkdf(key, None, info).hex())

data_key, salt = bytes(range(64, 96)), bytes(range(16))
commit = lambda number: hkdf(data_key, salt, b"coldframe/v1/parquet-data-key\0" + struct.pack(">I", number))
for name, number in ("column", 3), ("footer", 2**32 - 1):
    save(f"../pme/data-key-commitment-{name}.json", kind="data key commitment", data_key=data_key.hex(), salt=salt.hex(), column=number,
         commitment=commit(number).hex())

# One page of three 64-bit numbers, PLAIN, not compressed, in a column without nulls.
values = [1, -2, 2**40]
page = struct.pack("<3q", *values)
unique = salt + commit(2**32 - 1)
row_group, column, number = 2, 5, 0
place = struct.pack("<3h", row_group, column, number)
zigzag = lambda n: bytes([n << 1]) if n < 64 else bytes([n << 1 & 0x7f | 0x80, n >> 6])
module = 4 + 12 + len(page) + 16
header = (b"\x15" + zigzag(0) + b"\x15" + zigzag(len(page)) + b"\x15" + zigzag(module)                           # kind, size, size in the file
          + b"\x2c" + b"\x15" + zigzag(len(values)) + b"\x15\x00" + b"\x15" + zigzag(3) + b"\x15" + zigzag(3) + b"\x00" + b"\x00")


def frame(count, kind, plain):
    nonce = struct.pack(">I", count) + bytes([0xa0 + count] * 8)
    sealed = AESGCM(data_key).encrypt(nonce, plain, prefix(dataset, 7, part) + unique + bytes([kind]) + place)
    return struct.pack("<I", len(nonce + sealed)) + nonce + sealed


chunk = frame(1, 4, header) + frame(2, 2, page)
save("../pme/chunk.json", kind="chunk", data_key=data_key.hex(), aad_prefix=prefix(dataset, 7, part).hex(), aad_file_unique=unique.hex(),
     row_group=row_group, column=column, header=header.hex(), plaintext=page.hex(), frame=chunk.hex(), sha256=hashlib.sha256(chunk).hexdigest())
