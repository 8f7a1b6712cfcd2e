// The official client's side of bench/ratchet: one request a line on stdin, one JSON object a line on stdout.
//
//   encrypt N     A encrypts N messages, B takes none of them yet    -> {"seconds"}
//   decrypt       B decrypts what A encrypted, in order              -> {"seconds"}
//   pairs N       A sends one, B decrypts it and answers one, A decrypts it, N times -> {"seconds"}
//   idle N        N sessions in memory, in all phases                -> {"memory", "stored"}: bytes of each session
//
// COLDFRAME_LIBSIGNAL is the folder that interop/libsignal/install prints.
//
// It does what an application around this client must: the stores hold bytes, so a session is read from them and written to them at every
// message. Nothing else is done for a message, and nothing that could be shared is done twice.
import { createInterface } from 'node:readline';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const client = path.join(process.env.COLDFRAME_LIBSIGNAL, 'node_modules/libsignal-0.103.0/dist/index.js');
const signal = await import(pathToFileURL(client));
signal.initLogger(signal.LogLevel.Error, () => {});

const key = (address) => `${address.name()}.${address.deviceId()}`;

class Sessions extends signal.SessionStore {
  records = new Map();
  async saveSession(address, record) { this.records.set(key(address), record.serialize()); }
  async getSession(address) {
    const record = this.records.get(key(address));
    return record ? signal.SessionRecord.deserialize(record) : null;
  }
  async getExistingSessions() { throw new Error('not asked for one by one messages'); }
}

class Identities extends signal.IdentityKeyStore {
  known = new Map();
  constructor(registrationID) {
    super();
    this.registrationID = registrationID;
    this.own = signal.IdentityKeyPair.generate();
  }
  async getIdentityKey() { return this.own.privateKey; }
  async getIdentityKeyPair() { return this.own; }
  async getLocalRegistrationId() { return this.registrationID; }
  async saveIdentity(address, publicKey) {
    const known = this.known.get(key(address));
    if (known?.equals(publicKey)) return signal.IdentityChange.NewOrUnchanged;
    this.known.set(key(address), publicKey);
    return known ? signal.IdentityChange.ReplacedExisting : signal.IdentityChange.NewOrUnchanged;
  }
  async isTrustedIdentity(address, publicKey) {
    const known = this.known.get(key(address));
    return known === undefined || known.equals(publicKey);
  }
  async getIdentity(address) { return this.known.get(key(address)) ?? null; }
}

class PreKeys extends signal.PreKeyStore {
  async savePreKey() {}
  async getPreKey() { throw new Error('there are none'); }
  async removePreKey() {}
}

class SignedPreKeys extends signal.SignedPreKeyStore {
  async saveSignedPreKey(id, record) { this.record = record.serialize(); }
  async getSignedPreKey() { return signal.SignedPreKeyRecord.deserialize(this.record); }
}

class KyberPreKeys extends signal.KyberPreKeyStore {
  async saveKyberPreKey(id, record) { this.record = record.serialize(); }
  async getKyberPreKey() { return signal.KyberPreKeyRecord.deserialize(this.record); }
  async markKyberPreKeyUsed() {}
}

class Party {
  sessions = new Sessions();
  preKeys = new PreKeys();
  signedPreKeys = new SignedPreKeys();
  kyberPreKeys = new KyberPreKeys();

  constructor(name, registrationID) {
    this.address = signal.ProtocolAddress.new(name, 1);
    this.identities = new Identities(registrationID);
  }

  async bundle() {
    const identity = this.identities.own;
    const signed = signal.PrivateKey.generate();
    const kyber = signal.KEMKeyPair.generate();
    const signature = identity.privateKey.sign(signed.getPublicKey().serialize());
    const kyberSignature = identity.privateKey.sign(kyber.getPublicKey().serialize());
    await this.signedPreKeys.saveSignedPreKey(1, signal.SignedPreKeyRecord.new(1, Date.now(), signed.getPublicKey(), signed, signature));
    await this.kyberPreKeys.saveKyberPreKey(1, signal.KyberPreKeyRecord.new(1, Date.now(), kyber, kyberSignature));
    return signal.PreKeyBundle.new(this.identities.registrationID, 1, null, null, 1, signed.getPublicKey(), signature,
      identity.publicKey, 1, kyber.getPublicKey(), kyberSignature);
  }

  start(bundle, peer) {
    return signal.processPreKeyBundle(bundle, peer.address, this.address, this.sessions, this.identities);
  }

  // What goes over the wire is bytes, so both ends turn the message into them and back.
  async encrypt(plaintext, peer) {
    return (await signal.signalEncrypt(plaintext, peer.address, this.address, this.sessions, this.identities)).serialize();
  }

  decrypt(body, peer) {
    return signal.signalDecrypt(signal.SignalMessage.deserialize(body), peer.address, this.address, this.sessions, this.identities);
  }

  decryptFirst(body, peer) {
    const message = signal.PreKeySignalMessage.deserialize(body);
    return signal.signalDecryptPreKey(message, peer.address, this.address, this.sessions, this.identities, this.preKeys,
      this.signedPreKeys, this.kyberPreKeys);
  }
}

const plaintext = new Uint8Array(100).fill(0x5a);
const check = (got) => {
  if (got.length !== plaintext.length || got[99] !== 0x5a) throw new Error('decrypted to something else');
};

// connected returns two parties with a session that both have heard from.
async function connected() {
  const a = new Party('9d0652a3-dcc3-4d11-975f-74d61598733f', 1);
  const b = new Party('796abedb-ca4e-4f18-8803-1fde5b921f9f', 2);
  await a.start(await b.bundle(), b);
  check(await b.decryptFirst(await a.encrypt(plaintext, b), a));
  check(await a.decrypt(await b.encrypt(plaintext, a), b));
  return [a, b];
}

async function pairs(a, b, count) {
  for (let i = 0; i < count; i++) {
    check(await b.decrypt(await a.encrypt(plaintext, b), a));
    check(await a.decrypt(await b.encrypt(plaintext, a), b));
  }
}

// seconds measures processor time, of all threads: on a core that nobody else wants it is the time on the clock.
async function seconds(work) {
  const started = process.cpuUsage();
  await work();
  const used = process.cpuUsage(started);
  return { seconds: (used.user + used.system) / 1e6 };
}

const resident = () => {
  globalThis.gc?.();
  globalThis.gc?.();
  return process.memoryUsage().rss;
};

// idle keeps n sessions as the client holds them in memory. Session i of a hundred has seen i pairs; the others are read from copies of
// their records. Twice as many again come before them, to use up the memory that making them has left free.
async function idle(n) {
  const records = [];
  for (let i = 0; i < 100; i++) {
    const [a, b] = await connected();
    await pairs(a, b, 1 + i);
    records.push(a.sessions.records.get(key(b.address)));
  }
  const open = [];
  const fill = () => {
    for (let i = 0; i < n; i++) open.push(signal.SessionRecord.deserialize(records[i % records.length]));
    return resident();
  };
  fill();
  const before = fill();
  const memory = (fill() - before) / n;
  return { memory, stored: records.reduce((sum, r) => sum + r.length, 0) / records.length, sessions: open.length };
}

const [a, b] = await connected();
let inFlight = [];
const requests = {
  encrypt: (count) => seconds(async () => {
    for (let i = 0; i < count; i++) inFlight.push(await a.encrypt(plaintext, b));
  }),
  decrypt: async () => {
    const messages = inFlight;
    inFlight = [];
    return seconds(async () => {
      for (const m of messages) check(await b.decrypt(m, a));
    });
  },
  pairs: (count) => seconds(() => pairs(a, b, count)),
  idle,
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, count] = line.split(' ');
  console.log(JSON.stringify(await requests[name](Number(count))));
}
