<?php

// The database of a new shop: php make.php, beside bootstrap/

use App\Models\User;
use Illuminate\Contracts\Console\Kernel;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Hash;

$app = require __DIR__ . '/bootstrap/app.php';
$app->make(Kernel::class)->bootstrap();
touch(config('database.connections.sqlite.database'));
$schema = $app['db']->connection()->getSchemaBuilder();
// As `php artisan session:table` has it.
$schema->create('sessions', function (Blueprint $table) {
    $table->string('id')->primary();
    $table->foreignId('user_id')->nullable()->index();
    $table->string('ip_address', 45)->nullable();
    $table->text('user_agent')->nullable();
    $table->text('payload');
    $table->integer('last_activity')->index();
});
$schema->create('users', function (Blueprint $table) {
    $table->id();
    $table->string('name');
    $table->string('password');
    $table->rememberToken();
});
$password = Hash::driver('bcrypt')->make('secret', ['rounds' => 4]);
User::create(['id' => 42, 'name' => 'anna', 'password' => $password]);
User::create(['id' => 7, 'name' => 'ben', 'password' => $password]);
