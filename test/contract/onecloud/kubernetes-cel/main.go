// What an API server says of a kind's rules in CEL, and of objects under them, by Kubernetes' own libraries: k8s.io/apiserver's types, functions and
// costs on cel-go. Reads one document from standard input (see request) and writes one (see response).
//
// Held as when a definition is created: each rule compiles to bool in the environment of the version that is asked for, costs at most
// ruleLimit times how often it can stand in one object, and all together at most totalLimit. Objects get their defaults first.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
	"k8s.io/apiserver/pkg/cel/openapi"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

const (
	ruleLimit  = 10_000_000
	totalLimit = 100_000_000
)

type request struct {
	// Kubernetes whose functions the rules may use, e.g. "1.25".
	Version string          `json:"version"`
	Schema  json.RawMessage `json:"schema"`
	Changes []change        `json:"changes"`
}

// An object before and after; without before it is created.
type change struct {
	Before any `json:"before"`
	After  any `json:"after"`
}

type response struct {
	Rules []*rule `json:"rules"`
	Total uint64  `json:"total"`
	// Per change: messages, in the order of their places.
	Refusals [][]string `json:"refusals"`
}

type rule struct {
	Path       string `json:"path"`
	Rule       string `json:"rule"`
	Transition bool   `json:"transition"`
	Cost       uint64 `json:"cost"`
	Error      string `json:"error,omitempty"`

	message string
	program cel.Program
}

// A schema with the rules that stand at it.
type node struct {
	schema   *spec.Schema
	root     bool
	rules    []*rule
	children map[string]*node // by property; "*" of every property, "[]" of every item
}

func main() {
	var asked request
	must(json.NewDecoder(os.Stdin).Decode(&asked))
	var schema spec.Schema
	must(json.Unmarshal(asked.Schema, &schema))
	base := environment.MustBaseEnvSet(version.MustParse(asked.Version), false)
	answer := response{Refusals: [][]string{}}
	tree := compile(base, &schema, "", true, 1, &answer)
	for _, one := range asked.Changes {
		after := defaulted(one.After, &schema)
		before := defaulted(one.Before, &schema)
		refusals := evaluate(tree, after, before, one.Before != nil)
		sort.Strings(refusals)
		answer.Refusals = append(answer.Refusals, refusals)
	}
	must(json.NewEncoder(os.Stdout).Encode(answer))
}

func compile(base *environment.EnvSet, schema *spec.Schema, path string, root bool, cardinality uint64, answer *response) *node {
	at := &node{schema: schema, root: root, children: map[string]*node{}}
	for _, validation := range (&openapi.Schema{Schema: schema}).XValidations() {
		compiled := compileRule(base, at, validation, cardinality)
		compiled.Path = path
		at.rules = append(at.rules, compiled)
		answer.Rules = append(answer.Rules, compiled)
		answer.Total = plus(answer.Total, compiled.Cost)
	}
	for name := range schema.Properties {
		property := schema.Properties[name]
		at.children[name] = compile(base, &property, join(path, name), false, cardinality, answer)
	}
	wrapped := &openapi.Schema{Schema: schema}
	if schema.Items != nil && schema.Items.Schema != nil {
		most := openapiMax(common.SchemaDeclType(wrapped, false))
		at.children["[]"] = compile(base, schema.Items.Schema, join(path, "[]"), false, times(cardinality, most), answer)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		most := openapiMax(common.SchemaDeclType(wrapped, false))
		at.children["*"] = compile(base, schema.AdditionalProperties.Schema, join(path, "*"), false, times(cardinality, most), answer)
	}
	return at
}

func compileRule(base *environment.EnvSet, at *node, validation common.ValidationRule, cardinality uint64) *rule {
	compiled := &rule{Rule: validation.Rule(), message: validation.Message()}
	fail := func(err error) *rule {
		compiled.Error = err.Error()
		return compiled
	}
	declared := common.SchemaDeclType(&openapi.Schema{Schema: at.schema}, at.root)
	if declared == nil {
		return fail(fmt.Errorf("rules cannot stand at this schema"))
	}
	declared = declared.MaybeAssignTypeName("selfType")
	extended, err := base.Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0),
		EnvOptions:        []cel.EnvOption{cel.Variable("self", declared.CelType()), cel.Variable("oldSelf", declared.CelType())},
		DeclTypes:         []*apiservercel.DeclType{declared},
	})
	if err != nil {
		return fail(err)
	}
	env := extended.NewExpressionsEnv()
	ast, issues := env.Compile(compiled.Rule)
	if issues != nil {
		return fail(issues.Err())
	}
	if ast.OutputType() != cel.BoolType {
		return fail(fmt.Errorf("is a %s and must be a bool", ast.OutputType()))
	}
	for _, reference := range ast.NativeRep().ReferenceMap() {
		compiled.Transition = compiled.Transition || reference.Name == "oldSelf"
	}
	costs := &library.CostEstimator{SizeEstimator: &sizes{root: declared}}
	estimate, err := env.EstimateCost(ast, costs)
	if err != nil {
		return fail(err)
	}
	compiled.Cost = times(estimate.Max, cardinality)
	if compiled.Cost > ruleLimit {
		return fail(fmt.Errorf("may cost %d, of %d", compiled.Cost, ruleLimit))
	}
	compiled.program, err = env.Program(ast, cel.CostLimit(celconfig.PerCallLimit), cel.CostTracking(costs))
	if err != nil {
		return fail(err)
	}
	return compiled
}

func evaluate(at *node, value any, old any, changed bool) []string {
	refusals := []string{}
	wrapped := common.Schema(&openapi.Schema{Schema: at.schema})
	if at.root {
		wrapped = wrapped.WithTypeAndObjectMeta()
	}
	for _, one := range at.rules {
		if one.program == nil || (one.Transition && !changed) {
			continue
		}
		variables := map[string]any{"self": common.UnstructuredToVal(value, wrapped)}
		if one.Transition {
			variables["oldSelf"] = common.UnstructuredToVal(old, wrapped)
		}
		result, _, err := one.program.Eval(variables)
		if err != nil {
			refusals = append(refusals, one.Path+": "+err.Error())
		} else if result.Value() != true {
			refusals = append(refusals, one.Path+": "+one.message)
		}
	}
	switch typed := value.(type) {
	case map[string]any:
		before, _ := old.(map[string]any)
		for name, inner := range typed {
			child := at.children[name]
			if child == nil {
				child = at.children["*"]
			}
			if child != nil && inner != nil {
				earlier, there := before[name]
				refusals = append(refusals, evaluate(child, inner, earlier, changed && there)...)
			}
		}
	case []any:
		// items are told apart by their keys alone, which none of our lists has: rules for changes do not reach into them
		for _, inner := range typed {
			if child := at.children["[]"]; child != nil {
				refusals = append(refusals, evaluate(child, inner, nil, false)...)
			}
		}
	}
	return refusals
}

// What the API server writes into an object where nothing stands.
func defaulted(value any, schema *spec.Schema) any {
	switch typed := value.(type) {
	case map[string]any:
		for name := range schema.Properties {
			property := schema.Properties[name]
			if _, there := typed[name]; !there && property.Default != nil {
				typed[name] = copied(property.Default)
			}
			if inner, there := typed[name]; there {
				typed[name] = defaulted(inner, &property)
			}
		}
	case []any:
		for index, inner := range typed {
			if schema.Items != nil && schema.Items.Schema != nil {
				typed[index] = defaulted(inner, schema.Items.Schema)
			}
		}
	case float64:
		// JSON's numbers are integers to the API server where they are whole
		if schema.Type.Contains("integer") && typed == math.Trunc(typed) {
			return int64(typed)
		}
	}
	return value
}

// Bounds of what expressions speak of, by the schema.
type sizes struct {
	root *apiservercel.DeclType
}

func (s *sizes) EstimateSize(element checker.AstNode) *checker.SizeEstimate {
	path := element.Path()
	if len(path) == 0 {
		return nil
	}
	at := s.root
	for _, step := range path[1:] { // the first is self, or oldSelf
		switch step {
		case "@items", "@values":
			at = at.ElemType
		case "@keys":
			at = at.KeyType
		default:
			field := at.Fields[step]
			if field == nil {
				return nil
			}
			at = field.Type
		}
		if at == nil {
			return nil
		}
	}
	return &checker.SizeEstimate{Min: 0, Max: uint64(at.MaxElements)}
}

func (s *sizes) EstimateCallCost(function, overload string, target *checker.AstNode, args []checker.AstNode) *checker.CallEstimate {
	return nil
}

func openapiMax(declared *apiservercel.DeclType) uint64 {
	if declared == nil {
		return math.MaxUint64
	}
	return uint64(declared.MaxElements)
}

func times(a, b uint64) uint64 {
	if b != 0 && a > math.MaxUint64/b {
		return math.MaxUint64
	}
	return a * b
}

func plus(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

func copied(value any) any {
	text, err := json.Marshal(value)
	must(err)
	var copy any
	must(json.Unmarshal(text, &copy))
	return copy
}

func join(path, name string) string {
	return strings.TrimPrefix(path+"."+name, ".")
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
