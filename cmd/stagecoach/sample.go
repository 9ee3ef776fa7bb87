package main

import (
	"fmt"
	"io"
	"reflect"
	"strings"
)

// writeSample writes the configuration file that has every key, with its help as a comment
// and its default as the value, from the tags of config.
func writeSample(w io.Writer) {
	fmt.Fprintln(w, "# Every setting of stagecoach serve. What stands behind # is the default.")
	t := reflect.TypeOf(config{})
	writeKeys(w, t)
	for f := range fields(t) {
		if f.Type.Kind() == reflect.Struct && f.Tag.Get("toml") != "" {
			fmt.Fprintf(w, "\n[%s]\n", f.Tag.Get("toml"))
			writeKeys(w, f.Type)
		}
	}
}

func writeKeys(w io.Writer, t reflect.Type) {
	for f := range fields(t) {
		key := f.Tag.Get("toml")
		if key == "" || f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeOf(Secret{}) {
			continue
		}
		help := strings.NewReplacer("${enum}", strings.ReplaceAll(f.Tag.Get("enum"), ",", ", "), " (default ${default})", "").Replace(f.Tag.Get("help"))
		for _, line := range wrap(help, 96) {
			fmt.Fprintf(w, "# %s\n", line)
		}
		fmt.Fprintf(w, "# %s = %s\n", key, sampleValue(f))
	}
}

// fields yields the fields of a struct, those of embedded structs among them.
func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Anonymous {
				for g := range fields(f.Type) {
					if !yield(g) {
						return
					}
				}
				continue
			}
			if !yield(f) {
				return
			}
		}
	}
}

func sampleValue(f reflect.StructField) string {
	value := f.Tag.Get("default")
	switch f.Type.Kind() {
	case reflect.Bool:
		return fmt.Sprint(value == "true")
	case reflect.Int, reflect.Uint16:
		return value
	case reflect.Slice:
		if value == "" {
			return "[]"
		}
		return fmt.Sprintf("[%q]", value)
	default:
		return fmt.Sprintf("%q", value)
	}
}

func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
