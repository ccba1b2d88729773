# Prints `file:line: rule` for each breach of the layers' table (.ci/layers.sh has the usage).
#   perl layers.pl ROOT      ROOT holds src/ and Cargo.toml
#
# Paths are compared, not words: grouped imports are spread out, `self::` and `super::` resolved,
# and comments, texts and everything under #[cfg(test)] are left out beforehand.
use strict;
use warnings;

# layer => [the crate's modules, the external crates] that it may use. What main.rs and lib.rs use is
# free. `core`, `alloc` and `std` are free too but for the rules below.
my %allowed = (
    protocol   => [[qw(protocol)], [qw(base64 httparse memchr multiversion sha1 simdutf8 zlib_rs)]],
    connection => [[qw(protocol connection)], []],
    app        => [[qw(protocol connection app)], [qw(hashbrown ipnet log memchr rfc7239 serde serde_json subtle uuid)]],
    http       => [[qw(protocol app http)], [qw(log memchr serde serde_json)]],
    backplane  => [[qw(backplane)], [qw(log memchr redis)]],
    client     => [[qw(protocol client)], [qw(base64 getrandom httparse rustls rustls_native_certs serde serde_json)]],
    net        => [[qw(protocol connection app http backplane net ops)],
                   [qw(log mio nix proxy_header rlimit rustls signal_hook_mio socket2)]],
    ops        => [[qw(protocol connection app http net ops config options logging)],
                   [qw(listenfd log memchr mio nix rlimit rustls signal_hook signal_hook_mio base64 x509_cert)]],
    config     => [[qw(protocol connection app http net ops config options logging)], [qw(ini ipnet log strsim)]],
    options    => [[qw(client options)], [qw(getopts strsim)]],
    logging    => [[qw(config options logging)], [qw(env_logger file_rotate jiff log)]],
);

# [layers, forbidden path, why]. A path is what the code names, spread out: std::net::TcpStream.
# The logger has threads and lines with dates, so it may ask the clock.
my $pure = [qw(protocol connection app http backplane)];
my $all = [keys %allowed, 'main', 'lib'];
my @paths = (
    [[qw(protocol)], qr/^(std|core)::(net|time|thread|fs|env|process|os)\b/, 'the protocol sees no machine'],
    [[grep { !/^(client|net|logging)$/ } @$all], qr/\bInstant::now\b/, 'only the loop asks the clock'],
    [[@$pure, 'net'], qr/\bSystemTime\b/, 'only the loop asks the clock'],
    [$pure, qr/^std::thread\b/, 'no threads'],
    [$pure, qr/^std::(os|fs|env|process)\b/, 'no files, no environment'],
    [[@$pure, 'options', 'logging'], qr/^std::net::(Tcp|Udp|ToSocketAddrs)/, 'only net touches sockets'],
    [[qw(app)], qr/^crate::connection::(?!(BySlot|ConnId|Message)\b)/, 'of connection only its values'],
    [[qw(app)], qr/^crate::protocol::frame::(Decoder|Header|encode_header)\b/, 'no frames in resources'],
    [[qw(ops)], qr/^mio::(?!(Interest|Registry|Token)\b)/, 'signals are events, sockets are not for ops'],
    [[qw(ops config)], qr/^crate::protocol::(frame|mask|message|utf8|handshake|http)\b/, 'no protocol decisions'],
);

# [layers, forbidden code, why], for what is no path.
my @codes = (
    [$all, qr/\bunsafe\b/, 'no unsafe'],
    [[@$pure, 'main'], qr/\.\s*elapsed\s*\(/, 'only the loop asks the clock'],
);

my $root = shift;
my %external = map { $_ => 1 } dependencies("$root/Cargo.toml");
my (@files, @breaches);
find_sources('src');
my %sources = map { $_ => code_of($_) } @files;
for my $file (sort grep { !only_for_tests($_) } @files) { judge($file, $sources{$file}) }
print map { "$_->[0]:$_->[1]: $_->[2]\n" } @breaches;
exit(@breaches ? 1 : 0);

sub judge {
    my ($file, $code) = @_;
    my $layer = layer_of($file);
    my %seen;
    my $breach = sub {
        my ($offset, $rule) = @_;
        my $line = 1 + (substr($code, 0, $offset) =~ tr/\n//);
        push @breaches, [$file, $line, "$layer: $rule"] unless $seen{"$line $rule"}++;
    };
    my $known = $layer =~ /^(main|lib)$/ || $allowed{$layer};
    $breach->(0, "no such layer; give it its row in .ci/layers.pl") unless $known;
    for my $named (paths_of($file, $code)) {
        my ($offset, $path) = @$named;
        for my $rule (@paths) {
            my ($layers, $pattern, $why) = @$rule;
            $breach->($offset, "$path ($why)") if $path =~ $pattern && grep { $_ eq $layer } @$layers;
        }
        next unless $allowed{$layer};
        my ($modules, $crates) = @{ $allowed{$layer} };
        my ($first, $second) = split /::/, $path;
        if ($first eq 'crate') {
            $breach->($offset, "crate::$second (not above it in the table)")
                if defined $second && $allowed{$second} && !grep { $_ eq $second } @$modules;
        } elsif ($external{$first}) {
            $breach->($offset, "$first (not one of its crates)") unless grep { $_ eq $first } @$crates;
        }
    }
    for my $rule (@codes) {
        my ($layers, $pattern, $why) = @$rule;
        next unless grep { $_ eq $layer } @$layers;
        while ($code =~ /$pattern/g) { $breach->($-[0], $why) }
    }
}

# Every path that the code names, as [offset, path]: imports spread out, the others as they stand.
sub paths_of {
    my ($file, $code) = @_;
    my @found;
    while ($code =~ /\buse\s+([^;]+);/g) {
        my $start = $-[1];
        spread($1, $start, '', \@found);
    }
    (my $rest = $code) =~ s/(\buse\s+[^;]+;)/blank($1)/ge;
    while ($rest =~ /(?<![\w:])((?:::\s*)?[a-zA-Z_]\w*(?:\s*::\s*[a-zA-Z_]\w*)+)/g) {
        push @found, [$-[1], $1];
    }
    # Macros of an imported crate and attributes as #[serde(...)] name it without a path.
    while ($rest =~ /#!?\[\s*([a-z_]\w*)\s*\(/g) { push @found, [$-[1], $1] if $external{$1} }
    return map { [$_->[0], absolute($file, $_->[1])] } @found;
}

# `a::{b, c::{d, self}}` at $offset becomes a::b, a::c::d and a::c.
sub spread {
    my ($tree, $offset, $prefix, $found) = @_;
    my ($depth, $from) = (0, 0);
    for my $at (0 .. length $tree) {
        my $char = $at < length $tree ? substr($tree, $at, 1) : ',';
        $depth++ if $char eq '{';
        $depth-- if $char eq '}';
        next unless $char eq ',' && $depth == 0;
        my $item = substr($tree, $from, $at - $from);
        my $position = $offset + $from + ($item =~ /^(\s*)/ ? length $1 : 0);
        if ($item =~ /^([^{]*)\{(.*)\}\s*$/s) {
            spread($2, $offset + $from + $-[2], $prefix . $1, $found);
        } elsif ($item =~ /\S/) {
            $item =~ s/\s+as\s+\w+\s*$//;
            push @$found, [$position, $prefix . $item];
        }
        $from = $at + 1;
    }
}

# A path as seen from the crate's root: `super::x` in src/app/session.rs is crate::app::x.
sub absolute {
    my ($file, $path) = @_;
    $path =~ s/\s+//g;
    $path =~ s/^:://;
    $path =~ s/::self$//;
    return $path unless $path =~ /^(self|super)\b/;
    my @module = split m{/}, $file;
    shift @module;
    my $name = pop @module;
    push @module, $1 if $name =~ /^(?!mod\.rs|lib\.rs|main\.rs)(.*)\.rs$/;
    $path =~ s/^self:://;
    while ($path =~ s/^super(::|$)//) { pop @module }
    return join '::', 'crate', @module, length $path ? $path : ();
}

sub layer_of {
    my ($file) = @_;
    return $file =~ m{^src/([^/]+?)(?:\.rs|/)} ? $1 : $file;
}

# The code of a file with comments, texts and test items blanked, its lines kept.
sub code_of {
    my ($file) = @_;
    open my $handle, '<', "$root/$file" or die "$file: $!\n";
    local $/;
    my $code = <$handle>;
    my $comment = qr{//[^\n]*};
    my $block;
    $block = qr{/\*(?:(?!/\*|\*/).|(??{$block}))*\*/}s;
    my $text = qr{\bb?r(\#*)".*?"\g{-1}|\bb?"(?:\\.|[^"\\])*"|"(?:\\.|[^"\\])*"}s;
    my $char = qr{'(?:\\[^']+|\\'|[^'\\\n])'};
    $code =~ s/($comment|$block|$text|$char)/blank($1)/ge;
    # An item ends at its semicolon or at the brace that closes its body, whichever comes first.
    my $braces;
    $braces = qr/\{(?:[^{}]|(??{$braces}))*\}/;
    my $cfg = qr/\#\[\s*cfg\s*\(\s*(?:all\s*\(\s*)?test\b[^\]]*\]/;
    $code =~ s/($cfg[^;{]*(?:;|$braces))/test_module($file, $1); blank($1)/ge;
    return $code;
}

# Notes `#[cfg(test)] mod name;`, whose file is left out.
my %test_modules;
sub test_module {
    my ($file, $item) = @_;
    return unless $item =~ /\bmod\s+(\w+)\s*;/;
    my $name = $1;
    (my $folder = $file) =~ s{(?:/(?:mod|lib|main))?\.rs$}{};
    $test_modules{"$folder/$name"} = 1;
}

sub only_for_tests {
    my ($file) = @_;
    return grep { $file =~ m{^\Q$_\E(?:\.rs$|/)} } keys %test_modules;
}

sub blank {
    my ($text) = @_;
    $text =~ s/[^\n]/ /g;
    return $text;
}

# The library names of the crate's dependencies.
sub dependencies {
    my ($manifest) = @_;
    open my $handle, '<', $manifest or die "$manifest: $!\n";
    my ($inside, @names);
    while (<$handle>) {
        $inside = /dependencies/ if /^\[/;
        push @names, $1 if $inside && /^\s*([\w-]+)\s*[.=]/;
        push @names, $1 if /^\[(?:\S*\.)?dependencies\.([\w-]+)\]/;
    }
    return map { my $name = $_; $name =~ s/-/_/g; $name eq 'rust_ini' ? 'ini' : $name } @names;
}

sub find_sources {
    my ($folder) = @_;
    opendir my $handle, "$root/$folder" or die "$root/$folder: $!\n";
    for my $name (sort readdir $handle) {
        next if $name =~ /^\./;
        if (-d "$root/$folder/$name") { find_sources("$folder/$name") }
        elsif ($name =~ /\.rs$/) { push @files, "$folder/$name" }
    }
}
