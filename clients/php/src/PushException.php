<?php

declare(strict_types=1);

namespace Websock;

/** The server has refused a push. The code is the HTTP status. */
final class PushException extends WebsockException
{
}
