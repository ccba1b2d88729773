<?php

// A new shop with two customers: php make.php URL SOCKET, beside wp-config.php

define('WP_INSTALLING', true);
[$host, $port] = [parse_url($argv[1], PHP_URL_HOST), parse_url($argv[1], PHP_URL_PORT)];
$_SERVER['HTTP_HOST'] = "$host:$port";
$_SERVER['REQUEST_URI'] = '/';
[, , $socket] = $argv;
(new mysqli('localhost', 'root', '', '', 0, $socket))->query('CREATE DATABASE wordpress');

require __DIR__ . '/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';

add_filter('pre_wp_mail', '__return_true'); // nobody is told
wp_install('Shop', 'admin', 'admin@example.org', true, '', 'secret');
update_option('siteurl', $argv[1]);
update_option('home', $argv[1]);
switch_theme('plain');
foreach (['anna' => 42, 'ben' => 43] as $name => $id) {
    $GLOBALS['wpdb']->query("ALTER TABLE wp_users AUTO_INCREMENT = $id");
    wp_create_user($name, 'secret', "$name@example.org");
}
