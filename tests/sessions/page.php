<?php
// Begins a session as the query says, does with it what a test wants, and answers what PHP itself
// reads from it: K and a name for each variable, P, a path, what is there and its truth for each value.
//   handler, path: ini settings   id: of the session   do: one of the functions below

error_reporting(0);
header('Content-Type: text/plain');

enum E: string
{
    case One = 'one';
}

class Base
{
    private $own = 'of Base';
    private $hidden = 'of Base only';
}

class Derived extends Base
{
    public $public = 1;
    protected $protected = 'x';
    private $own = 'of Derived';
    public ?E $case = E::One;
}

// Serializes itself: `C:`.
class Old implements Serializable
{
    public function __construct(public $data = null) {}
    public function serialize() { return serialize($this->data); }
    public function unserialize($text) { $this->data = unserialize($text); }
}

ini_set('session.serialize_handler', $_GET['handler'] ?? 'php');
ini_set('session.save_path', $_GET['path']);
session_id($_GET['id']);
$do = 'do_' . $_GET['do'];
$do();

function begin(array $options = [])
{
    session_start($options) or exit("E\tno session\n");
}

// Stores a group of values, reads them back and tells them.
function do_store()
{
    begin();
    ('store_' . $_GET['values'])();
    session_write_close();
    $_SESSION = [];
    begin(['read_and_close' => true]);
    foreach ($_SESSION as $key => $value) {
        echo "K\t", bin2hex($key), "\n";
        tell((string) $key, $_SESSION[$key], 0);
    }
}

function tell(string $path, $value, int $depth)
{
    echo "P\t", bin2hex($path), "\t", words($value), "\t", $value ? 1 : 0, "\n";
    if ($depth > 5) {
        return;
    }
    foreach (children($value) as $key => $child) {
        tell("$path.$key", $child, $depth + 1);
    }
}

function children($value): array
{
    if (is_array($value)) {
        return $value;
    }
    // What these hold is not what their properties are.
    if (!is_object($value) || $value instanceof E || $value instanceof Old || $value instanceof Traversable) {
        return [];
    }
    $children = [];
    foreach ((array) $value as $key => $child) {
        $parts = explode("\0", (string) $key);
        $owner = $parts[1] ?? '*';
        $name = end($parts);
        if ($owner === '*' || $owner === get_class($value) || !isset($children[$name])) {
            $children[$name] = $child;
        }
    }
    return $children;
}

function words($value): string
{
    return match (true) {
        is_string($value) => 'string ' . bin2hex($value),
        is_float($value) => 'float ' . (is_nan($value) ? 'nan' : bin2hex(pack('E', $value))),
        is_array($value) => 'array ' . count($value),
        is_object($value) => 'object',
        default => json_encode($value),
    };
}

function store_usual()
{
    $_SESSION['allowconnect'] = true;
    $_SESSION['user_id'] = 42;
    $_SESSION['name'] = 'Jürgen|x';
    $_SESSION['f'] = 1.5;
    $_SESSION['a'] = ['x' => 1, 2];
    $_SESSION['n'] = null;
    $_SESSION['no'] = false;
    $_SESSION['o'] = (object) ['p' => 'q'];
}

function store_values()
{
    $_SESSION['integers'] = [0, 1, -1, PHP_INT_MAX, PHP_INT_MIN];
    $_SESSION['floats'] = [0.0, -0.0, 0.1, 0.1 + 0.2, 1 / 3, 1.5, 100.0, 1e15, 1e22, 1e100, 1e-7,
        -2.5e-300, PHP_FLOAT_MAX, PHP_FLOAT_MIN, PHP_FLOAT_EPSILON, 5e-324, INF, -INF, NAN];
    ini_set('serialize_precision', '17');
    $_SESSION['strings'] = ['', '0', '00', ' ', 'false', "a\0b", '"";}', '|;{}:', "\xff\xfe", 'ü€𐍈',
        str_repeat('long|', 20000)];
    $_SESSION['bools'] = [true, false, null];
    $_SESSION['keys'] = [5 => 'a', -5 => 'b', '07' => 'c', '' => 'd', "k\0" => 'e'];
    $deep = 'bottom';
    for ($level = 0; $level < 100; $level++) {
        $deep = ['in' => $deep];
    }
    $_SESSION['deep'] = $deep;
    $_SESSION['empty'] = [];
    $_SESSION['last'] = 'end';
}

function store_keys()
{
    $_SESSION['!x'] = 1;
    $_SESSION['y!'] = 2;
    $_SESSION[''] = 'e';
    $_SESSION[5] = 'five';
    $_SESSION['ü x'] = 3;
    $_SESSION["line\nend"] = 4;
    $_SESSION[str_repeat('k', 127)] = 5;
    $_SESSION[str_repeat('l', 128)] = 6;
    $_SESSION['last'] = 7;
}

function store_bar()
{
    $_SESSION['first'] = 1;
    $_SESSION['a|b'] = 2;
}

function store_nothing()
{
}

function store_references()
{
    $_SESSION['p'] = 'r';
    $_SESSION['q'] = &$_SESSION['p'];
    $_SESSION['o1'] = new stdClass;
    $_SESSION['o1']->x = ['deep' => 9];
    $_SESSION['o2'] = $_SESSION['o1'];
    $_SESSION['e1'] = E::One;
    $_SESSION['e2'] = E::One;
    $list = [1, 2, 3];
    $_SESSION['list'] = [&$list, &$list, 'first' => &$list[0], 'text' => 'r'];
    $_SESSION['o1']->self = $_SESSION['o1'];
    $_SESSION['o1']->element = &$_SESSION['list']['text'];
    $_SESSION['loop'] = ['x' => 1];
    $_SESSION['loop']['again'] = &$_SESSION['loop'];
    $_SESSION['o3'] = &$_SESSION['o2'];
    $_SESSION['last'] = 'end';
    $_SESSION['same'] = &$_SESSION['last'];
}

function store_objects()
{
    $_SESSION['d'] = new Derived;
    $_SESSION['e'] = E::One;
    $_SESSION['empty'] = new stdClass;
    $_SESSION['array'] = new ArrayObject(['x' => 1]);
    $_SESSION['storage'] = new SplObjectStorage;
    $_SESSION['storage'][$_SESSION['d']] = 'data';
    $_SESSION['date'] = new ArrayIterator([new DateTimeImmutable('2026-01-01')]);
    $_SESSION['d2'] = $_SESSION['d'];
    $_SESSION['last'] = 'end';
    $_SESSION['same'] = &$_SESSION['last'];
    $_SESSION['old'] = new Old('plain');
    $_SESSION['behind'] = ['x' => 7];
    $_SESSION['earlier'] = $_SESSION['e'];
}

// Holds the session until the test lets it go.
function do_hold()
{
    begin();
    file_put_contents($_GET['begun'], 'x');
    file_get_contents($_GET['go']);
    $_SESSION['allowconnect'] = ($_SESSION['allowconnect'] ?? 0) + 1;
    session_write_close();
    echo 'done';
}

// The page leaves before its session is written.
function do_page()
{
    begin();
    $_SESSION['allowconnect'] = true;
    echo 'page', str_repeat(' ', (int) $_GET['size']), "end\n";
    flush();
}

function do_regenerate()
{
    begin();
    session_regenerate_id($_GET['delete'] === '1');
    $_SESSION['new'] = true;
    echo session_id();
}

function do_destroy()
{
    begin();
    session_destroy();
}

function do_collect()
{
    ini_set('session.gc_maxlifetime', '1440');
    begin();
    echo session_gc();
}

function do_touch()
{
    begin(['lazy_write' => true]);
}
