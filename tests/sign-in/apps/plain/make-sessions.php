<?php

// Writes sessions as a shop does: php make-sessions.php FOLDER COUNT; their ids are s1, s2 …, and
// their users 1, 2 …

[, $folder, $count] = $argv;
session_save_path($folder);
ini_set('session.use_cookies', '0');
ini_set('session.cache_limiter', '');
for ($user = 1; $user <= $count; $user++) {
    session_id("s$user");
    session_start();
    $_SESSION = ['cart' => [], 'user_id' => $user];
    session_write_close();
}
