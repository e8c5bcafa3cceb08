// Asio's own functions, compiled once (ASIO_SEPARATE_COMPILATION).
#include "async/task.hpp"

#include <asio/impl/src.hpp>
