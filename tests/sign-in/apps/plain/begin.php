<?php

// A response that begins a session, and can be in the browser before its session is on disk: the
// visitor signs in with it. ?user=42&how=small|large|flushed|finished

session_start();
$_SESSION['user_id'] = (int) $_GET['user'];
switch ($_GET['how']) {
    case 'small':
        echo 'in';
        break;
    case 'large': // leaves the buffer before the script ends
        echo str_repeat('x', 24_000);
        break;
    case 'flushed':
        echo 'in';
        while (ob_get_level()) {
            ob_end_flush();
        }
        flush();
        usleep(20_000);
        break;
    case 'finished':
        echo 'in';
        // Ends the response with the session still open, as who works on afterwards does.
        fastcgi_finish_request();
        usleep(20_000);
        break;
}
