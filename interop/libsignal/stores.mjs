// The stores that libsignal asks for, in memory. Everything in them is kept serialised, as an application would, so that a failure leaves
// what was there, and so that `dump` and `load` are plain copies.

// stores returns classes over the module `signal` of one version of the client. `state` holds everything.
export function stores(signal, state) {
  const key = (address) => `${address.name()}.${address.deviceId()}`;
  const hex = (bytes) => Buffer.from(bytes).toString('hex');
  const bytes = (text) => new Uint8Array(Buffer.from(text, 'hex'));
  const take = (shelf, id) => {
    if (!(id in state[shelf])) throw new Error(`no record ${id} in ${shelf}`);
    return bytes(state[shelf][id]);
  };

  class Sessions extends signal.SessionStore {
    async saveSession(address, record) { state.sessions[key(address)] = hex(record.serialize()); }
    async getSession(address) {
      const text = state.sessions[key(address)];
      return text ? signal.SessionRecord.deserialize(bytes(text)) : null;
    }
    async getExistingSessions(addresses) { return Promise.all(addresses.map((a) => this.getSession(a))); }
  }

  // Trust on first use: another key for a known address is refused.
  class Identities extends signal.IdentityKeyStore {
    async getIdentityKey() { return signal.PrivateKey.deserialize(bytes(state.identity)); }
    async getLocalRegistrationId() { return state.registrationID; }
    async saveIdentity(address, publicKey) {
      const text = hex(publicKey.serialize());
      const before = state.identities[key(address)];
      state.identities[key(address)] = text;
      return before === undefined || before === text ? 0 : 1;
    }
    async isTrustedIdentity(address, publicKey) {
      const known = state.identities[key(address)];
      return known === undefined || known === hex(publicKey.serialize());
    }
    async getIdentity(address) {
      const known = state.identities[key(address)];
      return known === undefined ? null : signal.PublicKey.deserialize(bytes(known));
    }
  }

  class PreKeys extends signal.PreKeyStore {
    async savePreKey(id, record) { state.preKeys[id] = hex(record.serialize()); }
    async getPreKey(id) { return signal.PreKeyRecord.deserialize(take('preKeys', id)); }
    async removePreKey(id) { delete state.preKeys[id]; }
  }

  class SignedPreKeys extends signal.SignedPreKeyStore {
    async saveSignedPreKey(id, record) { state.signedPreKeys[id] = hex(record.serialize()); }
    async getSignedPreKey(id) { return signal.SignedPreKeyRecord.deserialize(take('signedPreKeys', id)); }
  }

  // A one-time KEM prekey goes with its first use; for the last-resort key each (KEM id, signed id, base key) is taken once.
  class KyberPreKeys extends signal.KyberPreKeyStore {
    async saveKyberPreKey(id, record) { state.kyberPreKeys[id] = hex(record.serialize()); }
    async getKyberPreKey(id) { return signal.KyberPreKeyRecord.deserialize(take('kyberPreKeys', id)); }
    async markKyberPreKeyUsed(id, signedID, baseKey) {
      if (id !== state.lastResort) {
        delete state.kyberPreKeys[id];
        return;
      }
      const use = `${id} ${signedID} ${hex(baseKey.serialize())}`;
      if (state.lastResortUses.includes(use)) throw new Error('the last-resort key was used with this base key before');
      state.lastResortUses.push(use);
    }
  }

  return {
    sessions: new Sessions(),
    identities: new Identities(),
    preKeys: new PreKeys(),
    signedPreKeys: new SignedPreKeys(),
    kyberPreKeys: new KyberPreKeys(),
  };
}
