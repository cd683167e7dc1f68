// SPDX-License-Identifier: GPL-2.0
/*
 * Goes wrong in the way its argument names, to show that the host notices.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0) {
		perror(path);
		exit(2);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	const char *how = argc == 2 ? argv[1] : "";

	printf("TAP version 13\n");
	if (strcmp(how, "no-plan"))
		printf("1..%d\n", strcmp(how, "short") ? 1 : 2);
	if (!strcmp(how, "skip"))
		printf("ok 1 it # SKIP\n");
	else
		printf("%s 1 it\n", strcmp(how, "not-ok") ? "ok" : "not ok");
	fflush(stdout);

	if (!strcmp(how, "panic"))
		write_file("/proc/sysrq-trigger", "c");
	if (!strcmp(how, "warn"))
		write_file("/dev/kmsg", "WARNING: CPU: 0 PID: 1 at mm/nowhere.c:1\n");
	if (!strcmp(how, "hang"))
		pause();
	if (!strcmp(how, "crash"))
		abort();
	return !strcmp(how, "exit");
}
