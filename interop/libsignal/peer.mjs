// A peer around the official Signal client: the protocol of interop/signalpeer, one JSON object per line on stdin and stdout, bytes as hex.
//
//   COLDFRAME_LIBSIGNAL=$(interop/libsignal/install) node interop/libsignal/peer.mjs 0.103.0
//
// The client is the unchanged package of npm, chosen by version. It is run, never linked to the product.
import { randomInt } from 'node:crypto';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { describe } from './record.mjs';
import { stores } from './stores.mjs';

const [version] = process.argv.slice(2);
const home = process.env.COLDFRAME_LIBSIGNAL;
if (!version || !home) {
  console.error('usage: COLDFRAME_LIBSIGNAL=folder node peer.mjs version');
  process.exit(2);
}
const client = path.resolve(home, 'node_modules', `libsignal-${version}`);
process.chdir(client); // where the client looks for its native library if node is older than 20.11 (Debian 12 has 18)
const signal = await import(pathToFileURL(path.join(client, 'dist/index.js')));
signal.initLogger?.(signal.LogLevel.Error, () => {}); // a refused message is answered, not logged

class Refusal extends Error {
  constructor(code, detail) {
    super(detail);
    this.refusal = code;
  }
}
const invalid = (detail) => new Refusal('invalid_request', detail);

let state = null;
let store = null;

// ---- what a request may hold

const text = (v) => typeof v === 'string';
const flag = (v) => typeof v === 'boolean';
const number = (v) => Number.isInteger(v) && v >= 0 && v < 2 ** 32;
const device = (v) => Number.isInteger(v) && v >= 1 && v <= 127;
const hexText = (v) => text(v) && v.length % 2 === 0 && /^[0-9a-fA-F]*$/.test(v);
const hexOf = (size) => (v) => hexText(v) && v.length === 2 * size;
// shape checks an object's fields: exactly these, where a name that ends in ? may be absent.
const shape = (fields) => (v) => {
  if (v === null || typeof v !== 'object' || Array.isArray(v)) return false;
  const names = Object.keys(fields).map((n) => n.replace('?', ''));
  return Object.keys(v).every((n) => names.includes(n))
    && Object.entries(fields).every(([n, ok]) => (n.endsWith('?') && v[n.slice(0, -1)] === undefined) || ok(v[n.replace('?', '')]));
};
const remote = shape({ name: text, device });
const signedKey = (size) => shape({ id: number, public: hexOf(size), signature: hexOf(64) });
const bundle = shape({
  name: text, device_id: device, registration_id: number, identity_key: hexOf(33),
  signed_prekey: signedKey(33), kyber_prekey: signedKey(1569), 'one_time_prekey?': shape({ id: number, public: hexOf(33) }),
});

const bytes = (v) => new Uint8Array(Buffer.from(v, 'hex'));
const hex = (v) => Buffer.from(v).toString('hex');
const address = (v) => signal.ProtocolAddress.new(v.name, v.device);
const own = () => signal.ProtocolAddress.new(state.name, state.device);
// Before 0.94 two functions did not take the local address.
const withLocal = (f, parameters) => (f.length >= parameters ? [own()] : []);

// ---- commands: [fields, function]

const commands = {
  init: [{ name: text, 'device?': device, 'registration_id?': number, 'identity_private?': hexOf(32) }, init],
  bundle: [{ 'one_time?': flag, 'kyber_last_resort?': flag }, makeBundle],
  process_bundle: [{ bundle }, processBundle],
  encrypt: [{ remote, plaintext: hexText }, encrypt],
  decrypt: [{ remote, type: number, ciphertext: hexText }, decrypt],
  fingerprint: [{ remote_identity: hexOf(33), local_id: hexText, remote_id: hexText }, fingerprint],
  session: [{ remote }, session],
  dump: [{}, () => ({ state: hex(JSON.stringify(needState())) })],
  load: [{ state: hexText }, load],
  quit: [{}, () => ({})],
};

function needState() {
  if (!state) throw invalid('init or load comes first');
  return state;
}

function open(newState) {
  state = newState;
  store = stores(signal, state);
}

async function init({ name, device = 1, registration_id = randomInt(1, 16381), identity_private }) {
  const identity = identity_private ? signal.PrivateKey.deserialize(bytes(identity_private)) : signal.PrivateKey.generate();
  open({
    name, device, registrationID: registration_id, identity: hex(identity.serialize()), nextID: randomInt(1, 2 ** 20),
    sessions: {}, identities: {}, preKeys: {}, signedPreKeys: {}, kyberPreKeys: {}, lastResort: null, lastResortUses: [],
  });
  return about();
}

async function about() {
  const identity = await store.identities.getIdentityKey();
  return {
    name: state.name, device: state.device, registration_id: state.registrationID,
    identity_key: hex(identity.getPublicKey().serialize()),
  };
}

async function load({ state: dumped }) {
  try {
    open(JSON.parse(Buffer.from(dumped, 'hex').toString()));
    return await about();
  } catch (err) {
    throw invalid(`not a dumped state: ${err.message}`);
  }
}

async function makeBundle({ one_time = false, kyber_last_resort = false }) {
  const identity = await store.identities.getIdentityKey();
  const made = {
    name: state.name, device_id: state.device, registration_id: state.registrationID,
    identity_key: hex(identity.getPublicKey().serialize()),
    signed_prekey: await signedPreKey(identity), kyber_prekey: await kyberPreKey(identity, kyber_last_resort),
  };
  if (one_time) made.one_time_prekey = await oneTimePreKey();
  return { bundle: made };
}

const published = (record) => ({ id: record.id(), public: hex(record.publicKey().serialize()), signature: hex(record.signature()) });

async function signedPreKey(identity) {
  const key = signal.PrivateKey.generate();
  const signature = identity.sign(key.getPublicKey().serialize());
  const record = signal.SignedPreKeyRecord.new(state.nextID++, Date.now(), key.getPublicKey(), key, signature);
  await store.signedPreKeys.saveSignedPreKey(record.id(), record);
  return published(record);
}

async function kyberPreKey(identity, lastResort) {
  if (lastResort && state.lastResort !== null) return published(await store.kyberPreKeys.getKyberPreKey(state.lastResort));
  const pair = signal.KEMKeyPair.generate();
  const signature = identity.sign(pair.getPublicKey().serialize());
  const record = signal.KyberPreKeyRecord.new(state.nextID++, Date.now(), pair, signature);
  await store.kyberPreKeys.saveKyberPreKey(record.id(), record);
  if (lastResort) state.lastResort = record.id();
  return published(record);
}

async function oneTimePreKey() {
  const key = signal.PrivateKey.generate();
  const record = signal.PreKeyRecord.new(state.nextID++, key.getPublicKey(), key);
  await store.preKeys.savePreKey(record.id(), record);
  return { id: record.id(), public: hex(key.getPublicKey().serialize()) };
}

async function processBundle({ bundle: b }) {
  const publicKey = (v) => signal.PublicKey.deserialize(bytes(v));
  const oneTime = b.one_time_prekey;
  const made = signal.PreKeyBundle.new(
    b.registration_id, b.device_id, oneTime?.id ?? null, oneTime ? publicKey(oneTime.public) : null,
    b.signed_prekey.id, publicKey(b.signed_prekey.public), bytes(b.signed_prekey.signature), publicKey(b.identity_key),
    b.kyber_prekey.id, signal.KEMPublicKey.deserialize(bytes(b.kyber_prekey.public)), bytes(b.kyber_prekey.signature),
  );
  const to = address({ name: b.name, device: b.device_id });
  await signal.processPreKeyBundle(made, to, ...withLocal(signal.processPreKeyBundle, 5), store.sessions, store.identities);
  return {};
}

async function encrypt({ remote: to, plaintext }) {
  const message = await signal.signalEncrypt(bytes(plaintext), address(to), own(), store.sessions, store.identities);
  return { type: message.type(), ciphertext: hex(message.serialize()) };
}

async function decrypt({ remote: from, type, ciphertext }) {
  if (type === signal.CiphertextMessageType.PreKey) {
    const message = signal.PreKeySignalMessage.deserialize(bytes(ciphertext));
    return { plaintext: hex(await signal.signalDecryptPreKey(
      message, address(from), own(), store.sessions, store.identities, store.preKeys, store.signedPreKeys, store.kyberPreKeys)) };
  }
  if (type !== signal.CiphertextMessageType.Whisper) throw invalid('type is 2 or 3');
  const message = signal.SignalMessage.deserialize(bytes(ciphertext));
  const local = withLocal(signal.signalDecrypt, 5);
  return { plaintext: hex(await signal.signalDecrypt(message, address(from), ...local, store.sessions, store.identities)) };
}

async function fingerprint({ remote_identity, local_id, remote_id }) {
  const identity = await store.identities.getIdentityKey();
  const print = signal.Fingerprint.new(
    5200, 2, bytes(local_id), identity.getPublicKey(), bytes(remote_id), signal.PublicKey.deserialize(bytes(remote_identity)));
  return { displayable: print.displayableFingerprint().toString(), scannable: hex(print.scannableFingerprint().toBuffer()) };
}

async function session({ remote: to }) {
  const record = await store.sessions.getSession(address(to));
  if (!record) return { exists: false };
  const identity = await store.identities.getIdentity(address(to));
  return {
    remote_registration_id: record.remoteRegistrationId(),
    ...(identity ? { remote_identity: hex(identity.serialize()) } : {}), ...describe(record.serialize()),
  };
}

// ---- the loop

// code says the kind of a failure in the words of signalpeer. Whatever libsignal refuses without a kind of its own is not_authentic.
function code(err) {
  if (err.refusal) return err.refusal;
  const { DuplicatedMessage, UntrustedIdentity, InvalidSession } = signal.ErrorCode;
  const known = new Map([[DuplicatedMessage, 'replayed'], [UntrustedIdentity, 'key_changed'], [InvalidSession, 'policy']]);
  return known.get(err.code) ?? 'not_authentic';
}

// noSession: libsignal has no code of its own for a missing session.
const noSession = /session with .* not found/;

async function answer(line) {
  let request;
  try {
    request = JSON.parse(line);
  } catch {
    return { ok: false, error: 'invalid_request', detail: 'not JSON' };
  }
  const { id, cmd, ...rest } = request ?? {};
  const echo = id === undefined ? {} : { id };
  try {
    if (!text(cmd) || !Object.hasOwn(commands, cmd)) throw invalid('unknown command');
    const [fields, run] = commands[cmd];
    if (!shape(fields)(rest)) throw invalid(`${cmd} takes ${Object.keys(fields).join(', ') || 'nothing'}`);
    if (!['init', 'load', 'quit'].includes(cmd)) needState();
    return { ...echo, ok: true, ...(await run(rest)) };
  } catch (err) {
    return { ...echo, ok: false, error: noSession.test(err.message) ? 'not_found' : code(err), detail: String(err.message) };
  }
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (line.trim() === '') continue;
  const made = await answer(line);
  process.stdout.write(`${JSON.stringify(made)}\n`);
  if (made.ok && line.includes('"quit"') && JSON.parse(line).cmd === 'quit') break;
}
process.stdin.destroy();
