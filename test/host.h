/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Have the host do something: QMP commands, through a port of the guest.
 */
#ifndef HOST_H
#define HOST_H

#include <errno.h>
#include <poll.h>

#include "kselftest.h"
#include "port.h"

#define HOST_PORT	"org.page-hinting.monitor"
#define HOST_WAIT_MS	30000
#define BACKEND		"/machine/peripheral/balloon/virtio-backend"

/* "ok" and what came of the last request, or why it was not done. */
static char host_answer[1024];

/* Returns NULL where it was done, else why it was not. */
static inline const char *host_do(const char *request)
{
	char *answer = host_answer;
	size_t size = sizeof(host_answer);
	struct pollfd from = { .events = POLLIN };
	size_t len = 0;
	ssize_t n;

	from.fd = port_open(HOST_PORT);
	if (from.fd < 0)
		return "there is no port " HOST_PORT;
	if (dprintf(from.fd, "%s\n", request) < 0)
		len = snprintf(answer, size, "write: %s\n", strerror(errno));
	while (!memchr(answer, '\n', len) && len < size - 1) {
		n = -1;
		if (poll(&from, 1, HOST_WAIT_MS) == 1)
			n = read(from.fd, answer + len, size - 1 - len);
		if (n <= 0) {
			len = snprintf(answer, size, "no answer\n");
			break;
		}
		len += n;
	}
	close(from.fd);
	answer[len] = '\0';
	answer[strcspn(answer, "\n")] = '\0';
	return strncmp(answer, "ok ", 3) ? answer : NULL;
}

/* For what cannot go wrong. */
static inline void tell_host(const char *request)
{
	const char *wrong = host_do(request);

	if (wrong)
		ksft_exit_fail_msg("%s: %s\n", request, wrong);
}

/* How the device misbehaves from now on; see qemu/faults.patch. */
static inline void set_fault(const char *fault)
{
	char request[256];

	snprintf(request, sizeof(request),
		 "{\"execute\": \"qom-set\", \"arguments\": {\"path\": \"" BACKEND
		 "\", \"property\": \"x-hinting-fault\", \"value\": \"%s\"}}", fault);
	tell_host(request);
}

/* In host_answer: the fault that is set, or the counters of the device. */
static inline void ask_balloon(const char *property)
{
	char request[256];

	snprintf(request, sizeof(request),
		 "{\"execute\": \"qom-get\", \"arguments\": {\"path\": \"" BACKEND
		 "\", \"property\": \"%s\"}}", property);
	tell_host(request);
}

#endif /* HOST_H */
