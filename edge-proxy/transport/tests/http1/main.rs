//! The HTTP/1.1 front door over real sockets: clients scripted byte by byte, an origin that keeps every byte it gets.

mod answered;
mod hostile;
mod house;
