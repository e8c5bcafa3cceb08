// Every unit test executable is its module's *_test.cpp files with this main.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
