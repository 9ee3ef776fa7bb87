package main

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// docs/configuration.md has every key of the configuration, from the same tags as the flags.
func TestSampleReference(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Configuration

Every key of the file that ` + "`stagecoach serve --config FILE`" + ` reads; ` + "`stagecoach serve --sample`" + ` prints them as a file, which is [sample.toml](sample.toml).
An unknown key is an error that shows its line. A secret is written as ` + "`@FILE`" + ` (mode 0600) or ` + "`credential:NAME`" + ` (systemd's ` + "`LoadCredential=`" + `).
Times are written as 90s, 5m, 4h, 30d; sizes as 64K, 25M, 1G.

This page is made by ` + "`go test ./cmd/stagecoach -run TestSample -update`" + `.

## At the top
`)
	root := reflect.TypeOf(config{})
	referenceKeys(&b, root)
	for f := range fields(root) {
		if name := f.Tag.Get("toml"); f.Type.Kind() == reflect.Struct && name != "" {
			fmt.Fprintf(&b, "\n## [%s]\n", name)
			referenceKeys(&b, f.Type)
		}
	}
	checkGenerated(t, "../../docs/configuration.md", b.String())
}

func referenceKeys(b *strings.Builder, t reflect.Type) {
	b.WriteString("\n| key | default | |\n|---|---|---|\n")
	for f := range fields(t) {
		key := f.Tag.Get("toml")
		if key == "" || f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeOf(Secret{}) {
			continue
		}
		help := strings.NewReplacer("${enum}", strings.ReplaceAll(f.Tag.Get("enum"), ",", ", "), " (default ${default})", "", "|", `\|`).Replace(f.Tag.Get("help"))
		value := sampleValue(f)
		if value == `""` || value == "[]" {
			value = ""
		} else {
			value = "`" + value + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", key, value, help)
	}
}
