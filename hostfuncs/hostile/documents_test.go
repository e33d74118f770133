package hostile_test

import (
	"strconv"
	"strings"

	"github.com/wasakari/wasakari/abi"
)

// one is an attack of one step.
func one(name, does, op, req, want string) attack {
	return attack{name: name, does: does, steps: []step{{op, req, want}}}
}

// documents are requests that are bombs, or that two readers read in two ways.
func documents() []attack {
	const (
		put     = abi.OpKVPut
		notJSON = "invalid: kv.put: the document is not JSON: "
	)
	value := func(name, does, v, want string) attack {
		return one(name, does, put, `{"name":"answer","value":`+v+`}`, want)
	}
	keys := make([]string, 20_000)
	for i := range keys {
		keys[i] = strconv.Quote("k" + strconv.Itoa(i))
	}
	many := "{" + strings.Join(keys, ":0,") + `:0`
	return []attack{
		one("nothing", "sends nothing at all", put, ``, "invalid: kv.put: name: the key is missing"),
		one("blanks", "sends blanks", put, " \n\t ", notJSON+"unexpected end of JSON input, at byte 4"),
		one("byte order mark", "begins with a byte order mark", put, "\ufeff{}", notJSON+"invalid character 'ï' looking for beginning of value, at byte 1"),
		one("array", "sends an array for an object", put, `[{"name":"answer","value":1}]`, "invalid: kv.put: want an object, not an array"),
		one("string", "sends a string that holds the document", put, `"{\"name\":\"answer\",\"value\":1}"`, "invalid: kv.put: want an object, not a string"),
		one("comment", "writes a comment", put, `{/**/"name":"answer","value":1}`, notJSON+"invalid character '/' looking for beginning of object key string, at byte 2"),
		one("trailing comma", "ends with a comma", put, `{"name":"answer","value":1,}`, notJSON+"invalid character '}' looking for beginning of object key string, at byte 28"),
		one("two documents", "sends two documents", put, `{"name":"answer","value":1}{"name":"host_name","value":1}`, notJSON+"invalid character '{' after top-level value, at byte 28"),
		one("bytes that are no text", "sends bytes that are no UTF-8", put, "{\"name\":\"answer\",\"value\":\"\xc0\xaf\"}", "invalid: kv.put: the document is not UTF-8"),
		one("key twice", "names two keys, for two readers", put, `{"name":"answer","name":"host_name","value":1}`, "invalid: kv.put: name: the key is given twice"),
		one("key twice by an escape", "names two keys, one with an escape", put, `{"name":"answer","n\u0061me":"host_name","value":1}`, "invalid: kv.put: name: the key is given twice"),
		one("key in another case", "writes a key in another case, which Go's decoder takes", put, `{"name":"answer","Value":1,"value":2}`, "invalid: kv.put: Value: unknown key; did you mean value?"),
		one("key with a Kelvin sign", "writes a key with a letter that folds to another", put, `{"name":"answer","\u212aey":1,"value":2}`, "invalid: kv.put: \u212aey: unknown key"),
		one("unknown key", "adds a tenant that nobody asked for", put, `{"name":"answer","value":1,"tenant":"be7a"}`, "invalid: kv.put: tenant: unknown key"),
		one("endless key", "sends a key of 60 000 bytes", put, `{"`+strings.Repeat("k", 60_000)+`":1}`, `invalid: kv.put: "`+strings.Repeat("k", 64)+`": unknown key`),
		one("null for a name", "sends null for a name", put, `{"name":null,"value":1}`, "invalid: kv.put: name: want a string, not null; leave the key out"),
		one("number for a name", "sends a number for a name", put, `{"name":1,"value":1}`, "invalid: kv.put: name: want a string, not a number"),
		one("name with a zero", "sends a name that ends early for some", put, `{"name":"answer\u0000","value":1}`, `invalid: kv.put: name "answer\x00" has characters that cannot be printed`),
		one("half a pair in a name", "sends a name with half of a surrogate pair", put, `{"name":"answer\ud800","value":1}`, "invalid: kv.put: name: half of a surrogate pair stands for no character"),
		one("pair the wrong way round", "sends the halves of a pair in the wrong order", put, `{"name":"answer","value":"\udc00\ud800"}`, "invalid: kv.put: value: half of a surrogate pair stands for no character"),
		value("depth 63", "nests a value as deep as it may", strings.Repeat("[", 63)+strings.Repeat("]", 63), `{"version":1}`),
		value("depth 64", "nests a value deeper than it may", strings.Repeat("[", 64)+strings.Repeat("]", 64), "invalid: kv.put: value"+strings.Repeat("[0]", 63)+": nested deeper than 64"),
		value("depth of objects", "nests objects deeper than it may", strings.Repeat(`{"a":`, 64)+"1"+strings.Repeat("}", 64), "invalid: kv.put: value"+strings.Repeat(".a", 63)+": nested deeper than 64"),
		value("depth without end", "nests a value 50 000 deep", strings.Repeat("[", 50_000), notJSON+"invalid character '[' exceeded max depth, at byte 10025"),
		value("many keys", "sends an object of 20 000 keys", many+"}", `{"version":1}`),
		value("many keys and one twice", "hides a key that is given twice among 20 000", many+`,"k7":1}`, "invalid: kv.put: value.k7: the key is given twice"),
		value("key twice below", "gives a key twice where nobody looks", `{"a":{"b":1,"b":2}}`, "invalid: kv.put: value.a.b: the key is given twice"),
		value("huge number", "sends a number of 10 000 digits, which is kept as it is written", strings.Repeat("9", 10_000), `{"version":1}`),
		value("huge exponent", "sends a number with an endless exponent, which is kept as it is written", "1e999999999", `{"version":1}`),
		value("not a number", "sends what is no number in JSON", "NaN", notJSON+"invalid character 'N' looking for beginning of value, at byte 26"),
		value("leading zero", "sends a number that is octal for some", "0777", notJSON+"invalid character '7' after object key:value pair, at byte 27"),
		value("hexadecimal", "sends a hexadecimal number", "0x10", notJSON+"invalid character 'x' after object key:value pair, at byte 27"),
		value("control character in a string", "sends a line end within a string", "\"a\nb\"", notJSON+`invalid character '\n' in string literal, at byte 28`),
		value("value of 256 KiB", "sends the largest value", `"`+strings.Repeat("x", 256<<10-2)+`"`, `{"version":1}`),
		value("value of 256 KiB and a byte", "sends a value that is a byte too long", `"`+strings.Repeat("x", 256<<10-1)+`"`, `too_large: kv.put: "answer": value of 262145 bytes, at most 262144`),
		value("request of 300 KiB", "sends a request that is too long", `"`+strings.Repeat("x", 300<<10)+`"`, "too_large: kv.put: request of 307228 bytes, at most 266240"),
		value("value of escapes", "sends a value that is short and says it in 240 KB of escapes", `"`+strings.Repeat(`\u0061`, 40_000)+`"`, `{"version":1}`),
		one("negative time to live", "puts a value that expired before it was there", put, `{"name":"a","scope":"library","value":1,"ttl_s":-1}`, "invalid: kv.put: ttl_s: want at least 0"),
		one("endless time to live", "puts a value for longer than a clock goes", put, `{"name":"a","scope":"library","value":1,"ttl_s":9223372036854775807}`, `{"version":1}`),
		one("time to live that wraps", "puts a value for more seconds than a number holds", put, `{"name":"a","scope":"library","value":1,"ttl_s":9223372036854775808}`, "invalid: kv.put: ttl_s: want an integer of 64 bits, without fraction and exponent"),
		one("version of a fraction", "compares with half a version", put, `{"name":"a","scope":"library","value":1,"if_version":0.5}`, "invalid: kv.put: if_version: want an integer of 64 bits, without fraction and exponent"),
		one("version -1", "compares with a version that never is", put, `{"name":"a","scope":"library","value":1,"if_version":-1}`, "conflict: kv.put: conflict"),
		one("endless sleep", "sleeps for longer than a clock goes, which its deadline ends", abi.OpTaskSleep, `{"ms":9223372036854775807,"ms":0}`, "invalid: task.sleep: ms: the key is given twice"),
		one("negative sleep", "sleeps for less than no time", abi.OpTaskSleep, `{"ms":-9223372036854775808}`, "invalid: task.sleep: ms: want at least 0"),
		one("sleep of zero", "sleeps for no time", abi.OpTaskSleep, `{"ms":0}`, `{}`),
		one("bool for a list", "sends true for a list of fields", abi.OpNovaServerGet, `{"id":"s-operator","fields":true}`, "invalid: nova.server_get: fields: want an array, not true or false"),
		one("10 000 fields", "asks for one field 10 000 times", abi.OpNovaServerGet, `{"id":"s-operator","fields":[`+strings.TrimSuffix(strings.Repeat(`"id",`, 10_000), ",")+`]}`, `{"id":"s-operator"}`),
		one("field that is none", "asks for a field that is kept from guests", abi.OpNovaServerGet, `{"id":"s-operator","fields":["adminPass"]}`, `invalid: nova.server_get: fields: a server has no field "adminPass", the nearest is "name"`),
		one("user data", "asks for the user data of a server", abi.OpNovaServerGet, `{"id":"s-operator","fields":["OS-EXT-SRV-ATTR:user_data"]}`, `invalid: nova.server_get: fields: a server has no field "OS-EXT-SRV-ATTR:user_data", the nearest is "OS-EXT-SRV-ATTR:host"`),
		one("other enumeration", "resets a state to one that is none", abi.OpNovaServerResetState, `{"id":"s-operator","state":"DELETED"}`, `invalid: nova.server_reset_state: state: want one of error, active`),
		one("op that is none", "asks for an op that is none", "nova.server_delete", `{"id":"s-operator"}`, "invalid: nova.server_delete: not an op of this hatch"),
		one("op with an endless name", "asks for an op with an endless name", strings.Repeat("x", 5000), `{}`, "invalid: "+strings.Repeat("x", 64)+": not an op of this hatch"),
		one("op of the runtime", "asks the hatch for what the runtime does", abi.OpTaskCancel, `{"ticket":1}`, "invalid: task.cancel: not an op of this hatch"),
	}
}

// names look like paths, queries, or like other names.
func names() []attack {
	get := func(name, does, id, want string) attack {
		return one(name, does, abi.OpNovaServerGet, `{"id":`+id+`}`, want)
	}
	put := func(name, does, key, want string) attack {
		return one(name, does, abi.OpKVPut, `{"name":`+key+`,"value":1}`, want)
	}
	const mayNot = " is not provided in the manifest of task evil, nor under scratch/"
	return []attack{
		get("path up", "reads a server whose id climbs up", `"../os-services"`, `invalid: nova.server_get: server "../os-services"`),
		get("path down", "reads what lies below a server", `"s-operator/os-server-password"`, `invalid: nova.server_get: server "s-operator/os-server-password"`),
		get("query", "adds a query to a server's id", `"s-operator?all_tenants=1"`, `invalid: nova.server_get: server "s-operator?all_tenants=1"`),
		get("fragment", "adds a fragment to a server's id", `"s-operator#x"`, `invalid: nova.server_get: server "s-operator#x"`),
		get("escape", "escapes a slash in a server's id", `"..%2fos-services"`, `invalid: nova.server_get: server "..%2fos-services"`),
		get("backslash", "writes a backslash for a slash", `"..\\os-services"`, `invalid: nova.server_get: server "..\\os-services"`),
		get("line end", "splits the request after a server's id", `"s-operator\r\nHost: evil"`, `invalid: nova.server_get: server "s-operator\r\nHost: evil"`),
		get("dots", "reads the server of two dots", `".."`, `invalid: nova.server_get: server ".."`),
		get("empty", "reads the server without an id, which is the list of all", `""`, `invalid: nova.server_get: server ""`),
		get("endless", "reads a server with an endless id", `"`+strings.Repeat("a", 5000)+`"`, `invalid: nova.server_get: server "`+strings.Repeat("a", 64)+`"`),
		one("host with a path", "disables the service of a host that is a path", abi.OpNovaServiceDisable, `{"host":"../x"}`, `invalid: nova.service_disable: host "../x"`),
		one("host that is empty", "disables the service of no host, which is every host", abi.OpNovaServiceDisable, `{"host":""}`, `invalid: nova.service_disable: host ""`),
		one("aggregate -1", "adds a host to an aggregate of a negative number", abi.OpNovaAggregateAddHost, `{"id":-1,"host":"compute-2"}`, "not_found: nova.aggregate_add_host: aggregate -1"),
		put("scratch with dots", "writes a scratch key with dots, which is a name and no path", `"scratch/../host_name"`, `{"version":1}`),
		put("scratch itself", "writes the scratch key without a name", `"scratch/"`, `{"version":1}`),
		put("scratch by an escape", "writes the slash of a scratch key as an escape, which is the same key", `"scratch\u002fb"`, `{"version":1}`),
		put("scratch in another case", "writes a scratch key in another case", `"Scratch/x"`, `not_granted: kv.put: "Scratch/x"`+mayNot),
		put("scratch from the root", "writes a scratch key from the root", `"/scratch/x"`, `not_granted: kv.put: "/scratch/x"`+mayNot),
		put("input", "writes the host that failed", `"host_name"`, `not_granted: kv.put: "host_name"`+mayNot),
		put("input in another case", "writes the host that failed in another case", `"HOST_NAME"`, `not_granted: kv.put: "HOST_NAME"`+mayNot),
		put("name with a blank", "writes a name with a blank behind", `"answer "`, `not_granted: kv.put: "answer "`+mayNot),
		put("name in other letters", "writes a name in letters that look like others", `"аnswer"`, `not_granted: kv.put: "аnswer"`+mayNot),
		put("name in wide letters", "writes a name in wide letters", `"ａnswer"`, `not_granted: kv.put: "ａnswer"`+mayNot),
		put("name with a combining letter", "writes a scratch name with a letter that combines", `"scratch/a\u0301"`, `{"version":1}`),
		put("control character", "writes a name that clears a terminal", `"scratch/\u009b2J"`, `invalid: kv.put: name "scratch/\u009b2J" has characters that cannot be printed`),
		put("direction", "writes a name that turns the direction of text", `"scratch/\u202eb"`, `invalid: kv.put: name "scratch/\u202eb" has characters that cannot be printed`),
		put("empty name", "writes a name of nothing", `""`, "invalid: kv.put: name is empty"),
		put("name of 256 bytes", "writes a name that is a byte too long", `"scratch/`+strings.Repeat("x", 248)+`"`, "invalid: kv.put: name of 256 bytes, at most 255"),
	}
}
