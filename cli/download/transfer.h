/* transfer.h - brings the rest of a partial file from the server. */
#ifndef KILN_DOWNLOAD_TRANSFER_H
#define KILN_DOWNLOAD_TRANSFER_H

#include "download/job.h"
#include "download/part.h"

/* Asks for what is missing, again after a failure that may pass, until the part has all its bytes.
 * It never grows beyond them. KN_ERR_IO: the server or the network; KN_ERR_DATA: the server's file
 * has another size. When the program is asked to stop it returns KN_ERR_STATE. */
kn_status transfer_run(const job *j, part *p, kn_error *error);

/* "libcurl 7.88.1 (OpenSSL/3.0.11)" into text. */
void transfer_version(char *text, size_t size);

#endif
