<?php

declare(strict_types=1);

namespace Websock;

/**
 * The connection has ended. What was being sent may have been handled or not; everything that was
 * sent before it has been. The code is that of the server's close frame (RFC 6455, 7.4), or 1006.
 */
final class ConnectionLost extends WebsockException
{
}
