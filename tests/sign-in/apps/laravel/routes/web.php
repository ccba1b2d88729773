<?php

use Illuminate\Http\Request;
use Illuminate\Support\Facades\Auth;
use Illuminate\Support\Facades\Route;

Route::get('/', function (Request $request) {
    $request->session()->put('cart', $request->session()->get('cart', 0) + 1);
    $name = e(Auth::user()->name ?? 'nobody');
    $token = csrf_token();
    return <<<HTML
        <!doctype html><title>Shop</title><p id="name">$name</p>
        <form method="post" action="/login"><input type="hidden" name="_token" value="$token">
          <input name="name"><input name="password" type="password">
          <button id="login">Log in</button></form>
        <form method="post" action="/logout"><input type="hidden" name="_token" value="$token">
          <button id="logout">Log out</button></form>
        <script src="/websock.js"></script><script src="/page.js"></script>
        HTML;
});
Route::post('/login', function (Request $request) {
    $credentials = $request->only('name', 'password');
    abort_unless(Auth::attempt($credentials, $request->boolean('remember')), 403);
    $request->session()->regenerate();
    return redirect('/')->with('status', 'Welcome');
});
Route::post('/logout', function (Request $request) {
    Auth::logout();
    $request->session()->invalidate();
    $request->session()->regenerateToken();
    return redirect('/');
});
// What a page would show once after a redirect, without using it up.
Route::get('/state', fn (Request $request) => [
    'cart' => $request->session()->get('cart'),
    'status' => $request->session()->get('status'),
    'previous' => $request->session()->previousUrl(),
]);
