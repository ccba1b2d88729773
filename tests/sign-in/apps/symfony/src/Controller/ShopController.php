<?php

namespace App\Controller;

use Symfony\Bundle\FrameworkBundle\Controller\AbstractController;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\Routing\Annotation\Route;

class ShopController extends AbstractController
{
    #[Route('/')]
    public function front(Request $request): Response
    {
        $session = $request->getSession();
        $session->set('cart', $session->get('cart', 0) + 1);
        $name = htmlspecialchars($this->getUser()?->getUserIdentifier() ?? 'nobody');
        return new Response(<<<HTML
            <!doctype html><title>Shop</title><p id="name">$name</p>
            <form method="post" action="/login">
              <input name="_username"><input name="_password" type="password">
              <label><input name="_remember_me" type="checkbox"> remember me</label>
              <button id="login">Log in</button></form>
            <form method="post" action="/logout"><button id="logout">Log out</button></form>
            <script src="/websock.js"></script><script src="/page.js"></script>
            HTML);
    }

    #[Route('/login', name: 'login')]
    public function login(): Response
    {
        return new Response('The firewall answers for this.', 403);
    }

    #[Route('/logout', name: 'logout')]
    public function logout(): Response
    {
        return new Response('The firewall answers for this.', 403);
    }
}
