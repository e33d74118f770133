// Package safeyaml refuses YAML that makes a reader explode or recurse, before
// the reader sees it: a few hundred bytes of aliases of aliases stand for
// gigabytes.
//
// It reads no values; that is its callers' business.
package safeyaml

import (
	"fmt"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// maxNesting is how deep a document may be nested; a good one has 5 levels.
const maxNesting = 32

// Problem is the first thing in a document that is refused.
type Problem struct {
	Line, Col int
	Reason    string
	Hint      string // what to do; may be empty
}

// Error reads "line:col: reason".
func (p *Problem) Error() string { return fmt.Sprintf("%d:%d: %s", p.Line, p.Col, p.Reason) }

// Check refuses anchors, aliases, tags and deep nesting with a *Problem.
func Check(text []byte) error {
	depth, line, dashes := 0, 0, 0
	for _, t := range lexer.Tokenize(string(text)) {
		refuse := func(reason, hint string) error {
			return &Problem{t.Position.Line, t.Position.Column, reason, hint}
		}
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			return refuse("anchors and aliases are not allowed", "write it out")
		case token.TagType:
			return refuse("tags are not allowed", "leave it out")
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType:
			dashes++
		}
		if depth > maxNesting || dashes > maxNesting || t.Position.IndentNum > 8*maxNesting {
			return refuse("nested too deep", "")
		}
	}
	return nil
}
