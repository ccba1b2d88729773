# The text of "websock --help" → sections of websock(1) (man(7) macros).
# Lines that begin with two blanks are options or commands, further in stands what they do.

function escape(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    gsub(/…/, "...", text)
    sub(/^[.']/, "\\\\\\&&", text)
    return text
}

# Title and usage are in the template.
/^$/ { is_below_usage += is_usage; is_usage = 0; is_new = 1; next }
/^usage:/ { is_usage = 1 }
!is_below_usage { next }

/^  [^ ]/ {
    line = substr($0, 3)
    text = ""
    if (match(line, /   */) && RSTART <= 19) {
        text = substr(line, RSTART + RLENGTH)
        line = substr(line, 1, RSTART - 1)
    } else if (length(line) > 18 && substr(line, 18, 1) == " " && line !~ /^websock /) {
        text = substr(line, 19)
        line = substr(line, 1, 17)
    }
    printf ".TP\n.B %s\n", escape(line)
    if (text != "") print escape(text)
    is_new = 0
    next
}

/^   / { sub(/^ */, ""); print escape($0); next }

/^As a client/ { print ".SH CLIENT COMMANDS"; print escape($0); is_new = 0; next }

{ if (is_new) print ".PP"; print escape($0); is_new = 0 }
