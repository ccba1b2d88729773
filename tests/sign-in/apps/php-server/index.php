<?php

// Signs in as the pages of phpWebSocketServer of 2026 do: for this browser session, by a cookie
// that no script reads, no other site sends and no plain line carries (localhost counts as safe).

session_set_cookie_params([
    'lifetime' => 0,
    'path' => '/',
    'secure' => true,
    'httponly' => true,
    'samesite' => 'Strict',
]);
session_start();
$_SESSION['allowconnect'] = !isset($_GET['nobody']);
$Address = 'ws://' . preg_replace('/:\d+$/', '', $_SERVER['HTTP_HOST']);
$Port = getenv('WEBSOCK_PORT');
?>
<!doctype html>
<title>WebClient</title>
<p>Status: <b id="connect">not connected</b>, UUID <b id="uuid"></b></p>
<button id="ajax">Call the backend</button> <b id="feedback"></b>
<?= "<script>server='$Address'; port='$Port';</script>" ?>
<script src="/websock.js"></script>
<script>
  const at = (id) => document.getElementById(id);
  const statuses = [];
  const sock = socketWebClient(server, port, '/web');
  sock.setCallbackStatus((text) => statuses.push(text) && (at('connect').textContent = text));
  sock.setCallbackReady(() => (at('uuid').textContent = sock.uuid()));
  sock.setCallbackReadMessage(({ opcode, message }) => {
    if (opcode === 'feedback') at('feedback').textContent = message;
  });
  at('ajax').onclick = () =>
    fetch('/simulateBackend.php', { method: 'POST', body: JSON.stringify({ uuid: sock.uuid() }) });
  sock.init();
</script>
