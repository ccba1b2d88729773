<?php

// As Laravel's own bootstrap/app.php, with a loader in place of Composer's.

use Illuminate\Contracts;
use Illuminate\Foundation;

error_reporting(E_ALL & ~E_DEPRECATED); // Laravel 8 is older than this PHP
require_once 'Illuminate/autoload.php';
// Two parts that Debian's package holds and its loader does not know.
spl_autoload_register(static function (string $class): void {
    $roots = [
        'App\\' => __DIR__ . '/../app/',
        'Illuminate\\Foundation\\' => '/usr/share/php/Illuminate/Foundation/',
    ];
    foreach ($roots as $prefix => $root) {
        $file = $root . strtr(substr($class, strlen($prefix)), '\\', '/') . '.php';
        if (str_starts_with($class, $prefix) && is_file($file)) {
            require $file;
        }
    }
});
require_once '/usr/share/php/Illuminate/Foundation/helpers.php';

$app = new Foundation\Application(dirname(__DIR__));
$app->singleton(Contracts\Http\Kernel::class, App\Http\Kernel::class);
$app->singleton(Contracts\Console\Kernel::class, Foundation\Console\Kernel::class);
$app->singleton(Contracts\Debug\ExceptionHandler::class, Foundation\Exceptions\Handler::class);
return $app;
