<?php

foreach (['Bundle/FrameworkBundle', 'Bundle/SecurityBundle', 'Component/Yaml'] as $part) {
    require_once "Symfony/$part/autoload.php";
}
spl_autoload_register(static function (string $class): void {
    $file = __DIR__ . '/src/' . strtr(substr($class, strlen('App\\')), '\\', '/') . '.php';
    if (str_starts_with($class, 'App\\') && is_file($file)) {
        require $file;
    }
});
