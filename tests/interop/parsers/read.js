// What JSON.parse makes of a document: as a value, and as a call, as a server of the TypeScript SDK reads it.
//
// A line in: a document, in hexadecimal. A line out: the value, then method, name and arguments of the call; ! for
// what is refused or absent. The normal form: n, t, f; d and the sixteen digits of a double; " and four digits for
// each UTF-16 unit; [a,b]; {key:member,...} in the order of the keys' digits.

const double = new DataView(new ArrayBuffer(8));

function text(string) {
  let units = '"';
  for (let i = 0; i < string.length; i++) units += string.charCodeAt(i).toString(16).padStart(4, "0");
  return units;
}

function normal(value) {
  if (value === null) return "n";
  if (typeof value === "boolean") return value ? "t" : "f";
  if (typeof value === "string") return text(value);
  if (typeof value === "number") {
    double.setFloat64(0, value + 0 === 0 ? 0 : value);
    return "d" + double.getBigUint64(0).toString(16).padStart(16, "0");
  }
  if (Array.isArray(value)) return "[" + value.map(normal).join(",") + "]";
  return "{" + Object.keys(value).map((key) => text(key) + ":" + normal(value[key])).sort().join(",") + "}";
}

const optional = (value) => (value === undefined ? "!" : normal(value));

// As fetch's Request.json() and express read a body: UTF-8 with replacement, and without a byte order mark.
const decoder = new TextDecoder("utf-8");

function read(line) {
  let value;
  try {
    value = JSON.parse(decoder.decode(Buffer.from(line, "hex")));
  } catch {
    return "!\t!\t!\t!";
  }
  const params = value?.params;
  try {
    return [normal(value), optional(value?.method), optional(params?.name), optional(params?.arguments)].join("\t");
  } catch (error) {
    if (error instanceof RangeError) return "deep\tdeep\tdeep\tdeep"; // read, and too deep for normal()
    throw error;
  }
}

const lines = require("node:fs").readFileSync(0, "latin1").split("\n").slice(0, -1);
process.stdout.write(lines.map((line) => read(line) + "\n").join(""));
