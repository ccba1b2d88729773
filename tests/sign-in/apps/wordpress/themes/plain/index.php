<!doctype html>
<title>Shop</title>
<?php wp_head(); ?>
<p id="name"><?= esc_html(wp_get_current_user()->user_login ?: 'nobody') ?></p>
<a id="logout" href="<?= esc_url(wp_logout_url('/')) ?>">Log out</a>
<script src="/websock.js"></script><script src="/page.js"></script>
<?php wp_footer(); ?>
