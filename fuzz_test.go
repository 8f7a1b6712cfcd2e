package coldframe

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// fuzzed names, for each parser of outside bytes that section 6 of the threat model lists and that exists, its fuzz targets.
var fuzzed = map[string][]string{
	"HTTP request bodies and heads":         {"localapi/server.FuzzBody", "localapi/server.FuzzL12_Framing", "localapi/server.FuzzAccept", "localapi/server.FuzzEventID"},
	"requests to the coordinator":           {"coordinator/server.FuzzBody", "coordinator/server.FuzzEventID", "coordinator/state.FuzzToken"},
	"answers of the coordinator":            {"coordinator.FuzzEventStream", "coordinator.FuzzAnswer"},
	"records and backups of a coordinator":  {"coordinator/state.FuzzRecords", "coordinator/store.FuzzBackup"},
	"files of decryption keys":              {"cmd/coldframe.FuzzParseKeys"},
	"answers of the agent":                  {"localapi.FuzzEventStream"},
	"tables in requests":                    {"columnar/format.FuzzCSV", "columnar/format.FuzzNDJSON", "columnar/format.FuzzArrow", "columnar/format.FuzzParquet", "internal/parquetguard.FuzzDelta", "columnar/format.FuzzParseSchema"},
	"messages of the query engine":          {"columnar/query.FuzzReply"},
	"configuration file":                    {"daemon.FuzzConfig"},
	"vault envelope":                        {"keystore.FuzzHeader", "keystore.FuzzKeyring", "keystore.FuzzRootRecord", "keystore.FuzzIndex", "internal/seal.FuzzOpen"},
	"vault on a replica":                    {"keystore.FuzzRootBlob", "keystore.FuzzPart", "keystore.FuzzPending"},
	"KDF parameter block":                   {"keystore.FuzzKDFBlock"},
	"recovery kit, backup, anchor":          {"keystore.FuzzRecoveryKit", "keystore.FuzzBackupFile", "keystore.FuzzBackupRecords", "keystore.FuzzAnchorFile", "keystore.FuzzAccountKeyFile"},
	"roster":                                {"columnar.FuzzRoster"},
	"manifest":                              {"columnar.FuzzManifest", "columnar.FuzzSchema", "columnar.FuzzVersionKeys", "internal/signed.FuzzOpen", "internal/signed.FuzzUnmarshal"},
	"S3 XML and headers":                    {"columnar/s3.FuzzAnswer", "columnar/s3.FuzzParseContentRange", "columnar/s3.FuzzParseToken", "columnar.FuzzParseObjectName"},
	"conditions on rows":                    {"columnar.FuzzWhere"},
	"Parquet footer":                        {"columnar/pme.FuzzFooterTail", "columnar/pme.FuzzForeignFile"},
	"Parquet page headers":                  {"columnar/pme.FuzzPageHeader", "columnar/pme.FuzzChunk"},
	"Parquet pages":                         {"columnar/chunk.FuzzDecodeChunk"},
	"Parquet crypto header":                 {"columnar/pme.FuzzFileCryptoMetaData"},
	"key metadata":                          {"columnar/pme.FuzzKeyMetadata", "columnar/pme.FuzzForeignKeyMetadata"},
	"local store records":                   {"daemon.FuzzLocalRecords"},
	"names in the cache folder":             {"columnar/cache.FuzzParseFileName"},
	"token file":                            {"daemon.FuzzTokenFile", "localapi.FuzzTokenFile"},
	"unattended credential":                 {"daemon.FuzzCredential"},
	"device lists and their records":        {"daemon/devices.FuzzLink", "daemon/devices.FuzzRecord"},
	"device list that is kept":              {"daemon/membership.FuzzKept", "daemon/membership.FuzzHistory"},
	"requests of new devices":               {"daemon/devices.FuzzRequest", "daemon/devices.FuzzParseCode"},
	"device key file":                       {"daemon/devices.FuzzKeyFile"},
	"Signal messages":                       {"ratchet.FuzzSignalMessage", "ratchet.FuzzPreKeyMessage", "ratchet.FuzzScannable"},
	"bodies of messages":                    {"daemon/messages.FuzzBody", "daemon/messages.FuzzIndex"},
	"ratchet records and messages":          {"ratchet.FuzzRecord", "ratchet.FuzzPreKeysRecord", "ratchet.FuzzDecrypt", "ratchet.FuzzBundle"},
	"bundles and one-time prekeys":          {"daemon/contacts.FuzzBundle", "daemon/contacts.FuzzOneTimePreKey"},
	"secrets, contacts and their numbers":   {"daemon/contacts.FuzzSecretPayload", "daemon/contacts.FuzzContactRecord", "daemon/contacts.FuzzSafetyNumber"},
	"post-quantum chunks":                   {"ratchet/internal/erasure.FuzzDecoder"},
	"post-quantum ratchet header and state": {"ratchet/internal/spqr.FuzzHeader", "ratchet/internal/spqr.FuzzState"},
}

// Each parser has its targets, and no target is missing from the list. `make fuzz` runs them all.
func TestF21_EveryParserHasAFuzzTarget(t *testing.T) {
	have := fuzzTargets(t)
	for what, targets := range fuzzed {
		for _, name := range targets {
			if !have[name] {
				t.Errorf("%s: no fuzz target %s", what, name)
			}
			delete(have, name)
		}
	}
	for name := range have {
		t.Errorf("%s is in no row of this list", name)
	}
}

func fuzzTargets(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Fuzz") {
				out[filepath.ToSlash(filepath.Dir(file))+"."+f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
