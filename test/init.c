// SPDX-License-Identifier: GPL-2.0
/*
 * The first process of a test guest. Runs the program that the file /cmd
 * names, one argument a line, with its output on the virtio-serial port the
 * host takes the verdict from, reports how it ended, and powers off.
 *
 * Whatever goes wrong keeps "# end of run" from being sent: the host takes
 * the lack of it for a failure.
 */
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE
#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "port.h"

#define ARGS_MAX	32
#define ARGS_SIZE	4096
#define COVERAGE_MAX	65536
#define ACK_TIMEOUT_MS	30000

static int port = -1;

static void power_off(void)
{
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void say(const char *format, ...)
{
	char line[512];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (len > (int)sizeof(line) - 1)
		len = sizeof(line) - 1;
	if (write(port < 0 ? STDERR_FILENO : port, line, len) != len)
		perror("init: write");
}

static void fail(const char *what, const char *name)
{
	say("Bail out! init: cannot %s %s: %s\n", what, name, strerror(errno));
	/* Time for the line to reach the host. */
	sleep(1);
	power_off();
}

/* On the console: whether the device of the port was heard at all. */
static void show_interrupts(void)
{
	static char text[16384];
	int fd = open("/proc/interrupts", O_RDONLY | O_CLOEXEC);
	ssize_t len;

	while ((len = read(fd, text, sizeof(text))) > 0 &&
	       write(STDERR_FILENO, text, len) == len)
		;
	close(fd);
}

static void mount_one(const char *type, const char *where)
{
	if (mkdir(where, 0755) && errno != EEXIST)
		fail("make", where);
	if (mount(type, where, type, 0, NULL) && errno != EBUSY)
		fail("mount", where);
}

static void load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		fail("load", path);
	close(fd);
}

static void read_command(char **argv)
{
	static char text[ARGS_SIZE];
	ssize_t len;
	int fd, argc = 0;

	fd = open("/cmd", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail("open", "/cmd");
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		fail("read", "/cmd");
	for (char *arg = strtok(text, "\n"); arg; arg = strtok(NULL, "\n")) {
		if (argc == ARGS_MAX) {
			errno = E2BIG;
			fail("run", argv[0]);
		}
		argv[argc++] = arg;
	}
}

static int run(char **argv)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		fail("fork for", argv[0]);
	if (!pid) {
		dup2(port, STDOUT_FILENO);
		execv(argv[0], argv);
		say("Bail out! cannot run %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	/* Orphans end here too. */
	while (wait(&status) != pid)
		;
	return status;
}

/* A file of what lines have run, as a line of hexadecimal digits. */
static int show_coverage(const char *path, const struct stat *info, int type,
			 struct FTW *ftw)
{
	static unsigned char data[COVERAGE_MAX];
	static char text[2 * COVERAGE_MAX + 1];
	const char *name = path + ftw->base;
	ssize_t len, i;
	int fd;

	(void)info;
	if (type != FTW_F || !strstr(name, ".gcda"))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail("open", path);
	len = read(fd, data, sizeof(data));
	close(fd);
	for (i = 0; i < len; i++)
		sprintf(text + 2 * i, "%02x", data[i]);
	say("\n# gcov %s ", name);
	if (write(port, text, strlen(text)) < 0)
		fail("write", name);
	return 0;
}

/* A port's write returns before the host has read: wait for its answer. */
static void await_host(void)
{
	struct pollfd answer = { .fd = port, .events = POLLIN };

	if (poll(&answer, 1, ACK_TIMEOUT_MS) != 1)
		fprintf(stderr, "init: no answer from the host\n");
}

int main(void)
{
	char *argv[ARGS_MAX + 1] = { NULL };
	int status;

	mount_one("proc", "/proc");
	mount_one("sysfs", "/sys");
	mount_one("devtmpfs", "/dev");
	mount_one("tmpfs", "/tmp");
	mount_one("debugfs", "/sys/kernel/debug");
	mount_one("tracefs", "/sys/kernel/tracing");
	port = port_open("org.page-hinting.tap");
	if (port < 0) {
		show_interrupts();
		errno = ENOENT;
		fail("open", "the port org.page-hinting.tap");
	}
	load_module("/virtio_balloon.ko");
	read_command(argv);
	status = run(argv);
	nftw("/sys/kernel/debug/gcov", show_coverage, 16, FTW_PHYS);
	/* The program may have left a line without its end. */
	if (WIFSIGNALED(status))
		say("\n# killed by signal %d\n", WTERMSIG(status));
	else
		say("\n# exit status %d\n", WEXITSTATUS(status));
	say("# end of run\n");
	await_host();
	power_off();
}
