<?php

// A shop with a login page, as one begins with PHP.

session_start();
$customers = ['anna' => 42, 'ben' => 43];
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    if (!isset($customers[$_POST['name']]) || $_POST['password'] !== 'secret') {
        http_response_code(403);
        exit('No.');
    }
    session_regenerate_id(true);
    $_SESSION['name'] = $_POST['name'];
    $_SESSION['user_id'] = $customers[$_POST['name']];
    header('Location: /');
    exit;
}
$_SESSION['cart'] = ($_SESSION['cart'] ?? 0) + 1;
?>
<!doctype html>
<title>Shop</title>
<p id="name"><?= htmlspecialchars($_SESSION['name'] ?? 'nobody') ?></p>
<form method="post">
  <input name="name"> <input name="password" type="password"> <button id="login">Log in</button>
</form>
<a id="logout" href="/logout.php">Log out</a>
<script src="/websock.js"></script><script src="/page.js"></script>
