# websock.ini → sections of websock.ini(5) (man(7) macros): its comments, each below its keys.

function escape(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    sub(/^[.']/, "\\\\\\&&", text)
    return text
}

# The comment so far. What is further in, each reason, and what follows the end of a short line
# begins a line of its own.
function write_comment(    i, text, last, begins_line) {
    for (i = 1; i <= count; i++) {
        text = comment[i]
        if (text == "") { print ".PP"; last = ""; continue }
        begins_line = text ~ /^  / || text ~ /^Why / || last ~ /^  / || last ~ /[.]$/ && length(last) < 80
        if (begins_line && last != "") print ".br"
        last = text
        sub(/^ */, "", text)
        gsub(/   +/, "  ", text)
        print escape(text)
    }
    count = 0
}

function write_block(    i) {
    if (!keys) return
    for (i = 1; i <= keys; i++) {
        print (i == 1 ? ".TP" : ".TQ")
        printf ".B %s\n", escape(key[i])
    }
    keys = 0
    write_comment()
}

NR == 1 { next }   # the title
/^; --- / {
    write_block(); write_comment()
    gsub(/^; -+ | -+$/, "")
    printf ".SS %s\n", escape($0)
    last_heading = NR
    next
}
/^;/ {
    if (keys) write_block()
    sub(/^; ?/, "")
    comment[++count] = $0
    next
}
/^\[[a-z]+\]$/ {
    write_block(); write_comment()
    if (last_heading != NR - 1) print ".PP"
    printf "Keys of the section\n.BR %s :\n", escape($0)
    next
}
/^[A-Za-z_]+=/ { key[++keys] = $0; next }
/^$/ { if (keys) write_block(); next }
{ printf "ini.awk: line %d is neither comment nor key: %s\n", NR, $0 > "/dev/stderr"; exit 1 }
END { write_block(); write_comment() }
