# Install.cmake - headers, both libraries, the commands, kiln.pc and the CMake package.
include(CMakePackageConfigHelpers)

install(DIRECTORY include/kiln DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(TARGETS kiln_static kiln_shared EXPORT kiln-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS kiln_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(KILN_BUILD_DOWNLOAD)
    install(TARGETS kiln_download RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(KILN_BUILD_CUDA)
    install(TARGETS kiln_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

# What the static library needs from its user's link line.
set(KILN_STATIC_LIBS ${KILN_LINK_ALSO})
list(TRANSFORM KILN_STATIC_LIBS PREPEND "-l")
list(APPEND KILN_STATIC_LIBS -pthread ${OpenMP_C_FLAGS})

# kiln.pc finds the prefix from where it lies, so an installed tree can be moved.
set(KILN_PC_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH KILN_PC_PREFIX /prefix/${KILN_PC_DIR} /prefix)
list(JOIN KILN_PC_REQUIRES " " KILN_PC_REQUIRES_TEXT)
list(JOIN KILN_STATIC_LIBS " " KILN_STATIC_LIBS_TEXT)
configure_file(cmake/kiln.pc.in ${CMAKE_BINARY_DIR}/kiln.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/kiln.pc DESTINATION ${KILN_PC_DIR})

set(KILN_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/kiln)
configure_package_config_file(cmake/kiln-config.cmake.in ${CMAKE_BINARY_DIR}/kiln-config.cmake
                              INSTALL_DESTINATION ${KILN_PACKAGE_DIR})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/kiln-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/kiln-config.cmake ${CMAKE_BINARY_DIR}/kiln-config-version.cmake
        DESTINATION ${KILN_PACKAGE_DIR})
install(EXPORT kiln-targets NAMESPACE kiln:: DESTINATION ${KILN_PACKAGE_DIR})
