<?php
// What the tests ask of PHP: each path is a thing that applications do.
switch ($_SERVER['PATH_INFO'] ?? '') {
case '/session':
    session_start();
    $_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
    echo $_SESSION['visits'];
    break;
case '/upload':
    echo $_FILES['file']['size'], ' ', md5_file($_FILES['file']['tmp_name']);
    break;
case '/body':
    echo md5(file_get_contents('php://input'));
    break;
case '/download':
    for ($part = 0; $part < 800; $part++) {
        echo str_repeat(chr(97 + $part % 26), 65536);
    }
    break;
case '/fail':
    throw new Exception('the till is empty');
case '/warn':
    error_log('it is getting late.');
    echo 'done';
    break;
case '/slow':
    sleep(10);
    break;
case '/away':
    header('Location: /elsewhere');
    break;
case '/teapot':
    header('HTTP/1.1 418 I am a teapot');
    break;
case '/sockets':
    echo implode(' ', preg_grep('/socket/', array_map('readlink', glob('/proc/self/fd/*'))));
    break;
case '/trickle':
    header('X-Accel-Buffering: no');
    echo 'first';
    flush();
    readfile('php://input');
    usleep(300000);
    echo ' second';
    break;
default:
    foreach (['SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'HTTP_HOST', 'HTTP_COOKIE', 'HTTP_X_SEVERAL'] as $name) {
        echo $name, '=', $_SERVER[$name] ?? '-', "\n";
    }
}
