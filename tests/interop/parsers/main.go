// What Go's encoding/json makes of a document: as a value, and as a call into the struct that a server declares.
//
// A line in: a document, in hexadecimal. A line out: the value, then method, name and arguments of the call, in the
// normal form of read.js; ! for what is refused or absent.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"strings"
	"unicode/utf16"
)

type call struct {
	Method *string `json:"method"`
	Params struct {
		Name      *string `json:"name"`
		Arguments any     `json:"arguments"`
	} `json:"params"`
}

func text(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, unit := range utf16.Encode([]rune(s)) {
		fmt.Fprintf(&b, "%04x", unit)
	}
	return b.String()
}

func normal(value any) string {
	switch v := value.(type) {
	case nil:
		return "n"
	case bool:
		if v {
			return "t"
		}
		return "f"
	case float64:
		if v == 0 {
			v = 0
		}
		return fmt.Sprintf("d%016x", math.Float64bits(v+0))
	case string:
		return text(v)
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = normal(item)
		}
		return "[" + strings.Join(items, ",") + "]"
	case map[string]any:
		members := make([]string, 0, len(v))
		for key, member := range v {
			members = append(members, text(key)+":"+normal(member))
		}
		sort.Strings(members)
		return "{" + strings.Join(members, ",") + "}"
	}
	panic(value)
}

func optional(s *string) string {
	if s == nil {
		return "!"
	}
	return text(*s)
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		document, err := hex.DecodeString(in.Text())
		if err != nil {
			panic(err)
		}
		var value any
		read := "!"
		if json.Unmarshal(document, &value) == nil {
			read = normal(value)
		}
		var made call
		if json.Unmarshal(document, &made) != nil {
			fmt.Fprintf(out, "%s\t!\t!\t!\n", read)
			continue
		}
		arguments := "!"
		if made.Params.Arguments != nil {
			arguments = normal(made.Params.Arguments)
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", read, optional(made.Method), optional(made.Params.Name), arguments)
	}
}
