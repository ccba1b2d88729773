<?php

declare(strict_types=1);

namespace Websock;

/** There is no connection, so nothing was sent. */
final class ConnectException extends WebsockException
{
}
