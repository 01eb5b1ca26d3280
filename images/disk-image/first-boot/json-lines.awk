# JSON as lines `path=value`, a.b.0.c=text, for scripts. Strings lose their quotes; of their escapes \" \\ \/ \n \t are read, others stay.
{ text = text $0 "\n" }
END { at = 1; value("") }

function blank() { while (substr(text, at, 1) ~ /[ \t\r\n]/ && at <= length(text)) at++ }

function string(    result, c) {
  at++
  result = ""
  while (at <= length(text)) {
    c = substr(text, at++, 1)
    if (c == "\"") return result
    if (c == "\\") {
      c = substr(text, at++, 1)
      if (c == "n" || c == "t") c = " " # one value, one line
      else if (c != "\"" && c != "\\" && c != "/") c = "\\" c
    }
    result = result c
  }
  exit 1
}

function value(path,    c, name, index_, start) {
  blank()
  c = substr(text, at, 1)
  if (c == "\"") { print path "=" string(); return }
  if (c == "{" || c == "[") {
    at++
    index_ = 0
    blank()
    if (substr(text, at, 1) ~ /[]}]/) { at++; return }
    while (at <= length(text)) {
      blank()
      if (c == "{") {
        if (substr(text, at, 1) != "\"") exit 1
        name = string()
        blank()
        if (substr(text, at++, 1) != ":") exit 1
      } else name = index_++
      value(path == "" ? name : path "." name)
      blank()
      start = substr(text, at++, 1)
      if (start != ",") { if (start !~ /[]}]/) exit 1; return }
    }
    exit 1
  }
  start = at
  while (at <= length(text) && substr(text, at, 1) !~ /[],} \t\r\n]/) at++
  if (at == start) exit 1
  print path "=" substr(text, start, at - start)
}
