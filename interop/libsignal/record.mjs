// What a stored session of libsignal says about itself, for the answer of the command `session`: the client's API tells neither its
// post-quantum epoch nor how many sessions are archived. The fields are those of section 13 of the wire specification.

// fields returns a protobuf message's fields: number -> list of values, a BigInt (wire type 0) or bytes (wire type 2).
function fields(bytes) {
  const out = new Map();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const b = bytes[at++];
      if (b === undefined) throw new Error('cut protobuf');
      value |= BigInt(b & 0x7f) << shift;
      if (b < 0x80) return value;
    }
  };
  const skip = (n) => bytes.subarray(at, (at += n));
  while (at < bytes.length) {
    const tag = Number(varint());
    const read = { 0: varint, 1: () => skip(8), 2: () => skip(Number(varint())), 5: () => skip(4) }[tag & 7];
    if (!read) throw new Error('unknown wire type');
    const number = tag >> 3;
    out.set(number, [...(out.get(number) ?? []), read()]);
  }
  return out;
}

const only = (message, number) => message.get(number)?.[0];

// describe returns {exists, archived, unacknowledged, epoch}. epoch is the newest for which the session holds keys, plus one: the epoch
// that the exchange is in counts from 1.
export function describe(record) {
  const whole = fields(record);
  const session = only(whole, 1) ? fields(only(whole, 1)) : new Map();
  const spqr = only(session, 15) ? fields(only(session, 15)) : new Map();
  const chain = only(spqr, 2) ? fields(only(spqr, 2)) : new Map();
  return {
    exists: whole.has(1),
    archived: (whole.get(2) ?? []).length,
    unacknowledged: session.has(9),
    epoch: Number(only(chain, 2) ?? 0n) + 1,
  };
}
