<?php

declare(strict_types=1);

namespace Websock;

/** Everything that can go wrong with the server. The message says why, and what to do. */
class WebsockException extends \RuntimeException
{
}
