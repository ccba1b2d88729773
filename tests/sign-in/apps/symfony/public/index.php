<?php

// As Symfony's own public/index.php, with loaders from Debian's packages in place of Composer's.

use App\Kernel;
use Symfony\Component\HttpFoundation\Request;

require_once __DIR__ . '/../autoload.php';

$kernel = new Kernel('prod', false);
$request = Request::createFromGlobals();
$response = $kernel->handle($request);
$response->send();
$kernel->terminate($request, $response);
