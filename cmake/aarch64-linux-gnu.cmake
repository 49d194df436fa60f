# Cross-compiles for 64-bit ARM with Debian's g++-aarch64-linux-gnu, and runs tests under qemu-user:
#   cmake -B build -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake ...
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64;-L;/usr/aarch64-linux-gnu)
# Headers such as Eigen's and doctest's are this machine's; libraries are the other's.
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
