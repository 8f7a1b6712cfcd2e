package coldframe

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport is the whole lattice: for each package of the module, the packages of the module that its code (tests left out) may import.
// A package that is not listed may import nothing of the module. The lists are read from the sources, not asked of the go command, so
// that a cached answer cannot pass.
var mayImport = map[string][]string{
	"internal/apicheck":         {"internal/fault"},
	"internal/atomicfile":       {"internal/fault"},
	"internal/kv":               {"internal/freespace", "internal/fault"},
	"internal/netguard":         {"internal/fault"},
	"internal/parquetguard":     {"internal/fault"},
	"internal/seal":             {"internal/secret", "internal/fault"},
	"internal/sse":              {"internal/fault"},
	"internal/signed":           {"internal/secret", "internal/fault"},
	"ratchet":                   {"ratchet/internal/*", "internal/secret", "internal/fault"},
	"ratchet/internal/kdf":      {"internal/secret"},
	"ratchet/ratchettest":       {"ratchet", "internal/seal", "internal/secret", "internal/fault"},
	"keystore":                  {"keystore/passphrase", "internal/*"},
	"keystore/keystoretest":     {"keystore", "internal/fault", "internal/secret"},
	"columnar":                  {"columnar/chunk", "columnar/pme", "columnar/format", "internal/parquetguard", "internal/secret", "internal/seal", "internal/signed", "internal/fault"},
	"columnar/chunk":            {"columnar/pme", "internal/parquetguard", "internal/fault"},
	"columnar/pme":              {"internal/secret", "internal/fault"},
	"columnar/format":           {"columnar/pme", "internal/parquetguard", "internal/secret", "internal/fault"},
	"columnar/dir":              {"columnar", "internal/freespace", "internal/fault"},
	"columnar/s3":               {"columnar", "internal/netguard", "internal/secret", "internal/fault"},
	"columnar/cache":            {"columnar", "internal/freespace", "internal/fault"},
	"columnar/storetest":        {"columnar", "internal/fault"},
	"columnar/query":            {"columnar", "columnar/format", "internal/fault"},
	"columnar/query/querytest":  {},
	"columnar/columnartest":     {"columnar/pme"},
	"daemon":                    {"keystore", "ratchet", "columnar", "columnar/dir", "columnar/s3", "columnar/cache", "columnar/format", "columnar/query", "daemon/*", "coordinator", "internal/*"},
	"daemon/devices":            {"internal/atomicfile", "internal/seal", "internal/secret", "internal/signed", "internal/fault"},
	"daemon/membership":         {"daemon/devices", "internal/atomicfile", "internal/secret", "internal/signed", "internal/fault"},
	"daemon/link":               {"coordinator", "internal/netguard", "internal/secret", "internal/fault"},
	"daemon/contacts":           {"keystore", "ratchet", "internal/secret", "internal/signed", "internal/fault"},
	"daemon/messages":           {"ratchet", "internal/*"},
	"daemon/remote":             {"coordinator", "daemon/contacts", "daemon/messages", "keystore", "internal/secret", "internal/fault"},
	"coordinator":               {"internal/fault", "internal/sse"},
	"coordinator/store":         {"internal/fault"},
	"coordinator/badgerstore":   {"coordinator/store", "internal/kv", "internal/fault"},
	"coordinator/state":         {"coordinator", "coordinator/store", "internal/fault"},
	"coordinator/storetest":     {"coordinator/state", "coordinator/store", "internal/fault"},
	"coordinator/server":        {"coordinator/state", "internal/apicheck", "internal/fault", "internal/httpapi", "internal/version"},
	"localapi":                  {"internal/fault", "internal/sse", "internal/version"},
	"localapi/server":           {"daemon", "localapi", "columnar/format", "keystore/passphrase", "internal/*"},
	"localapi/localapitest":     {"daemon", "localapi", "localapi/server", "keystore", "keystore/keystoretest", "columnar", "internal/*", "internal/httpapi/httpapitest"},
	"cmd/coldframed":            {"daemon", "localapi/server", "internal/*"},
	"cmd/coldframe-coordinator": {"coordinator/badgerstore", "coordinator/server", "coordinator/state", "coordinator/store", "internal/*"},
	"cmd/coldframe":             {"localapi", "keystore/passphrase", "internal/fault", "internal/version"},
	"bench/coordinator":         {"bench/figures", "coordinator", "coordinator/*"},
	"bench/ratchet":             {"bench/figures", "ratchet", "ratchet/ratchettest", "internal/*"},
	"bench/columnar":            {"bench/figures", "bench/columnar/agent", "localapi", "columnar", "columnar/*", "internal/*"},
	"bench/columnar/agent":      {"localapi"},
	"interop/signalpeer":        {"interop/signalpeer/driver"},
	"interop/signalpeer/driver": {"ratchet", "internal/secret", "internal/fault"},

	"ratchet/internal/erasure":  {"internal/fault"},
	"ratchet/internal/mlkem768": {"internal/secret", "internal/fault"},
	"ratchet/internal/spqr":     {"ratchet/internal/erasure", "ratchet/internal/kdf", "ratchet/internal/mlkem768", "internal/secret", "internal/fault"},

	"coordinator/coordinatortest": {"coordinator", "coordinator/badgerstore", "coordinator/server", "coordinator/state", "coordinator/store", "internal/httpapi/httpapitest"},
}

func TestImportLattice(t *testing.T) {
	imports := packageImports(t)
	if len(imports) < 10 {
		t.Fatalf("only %d packages found", len(imports))
	}
	for pkg, list := range imports {
		for _, dep := range list {
			if !allowed(mayImport[pkg], dep) {
				t.Errorf("%s imports %s, which deps_test.go does not allow", pkg, dep)
			}
		}
	}
}

func allowed(list []string, dep string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		ok, _ := path.Match(p, dep)
		return ok
	})
}

// packageImports returns, for each folder with Go code, the packages of this module that its non-test files import.
func packageImports(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(file))
		out[pkg] = append(out[pkg], moduleImports(parsed.Imports)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The root's direct modules stay few: each is a promise to keep up with it.
func TestDirectModules(t *testing.T) {
	b, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	direct := 0
	for _, line := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(line, "\t") && !strings.Contains(line, "// indirect") {
			direct++
		}
	}
	if direct == 0 || direct > 35 {
		t.Fatalf("%d direct modules, the limit is 35", direct)
	}
}

func moduleImports(specs []*ast.ImportSpec) []string {
	var out []string
	for _, s := range specs {
		if p, err := strconv.Unquote(s.Path.Value); err == nil && strings.HasPrefix(p, "coldframe/") {
			out = append(out, strings.TrimPrefix(p, "coldframe/"))
		}
	}
	return out
}
