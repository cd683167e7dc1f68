// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations of page hinting fail, each in turn, while it starts: it says so,
 * leaves nothing behind, and the next try works. It allocates nothing after that.
 * What else is allocated while a device is bound does not fail: not all of the
 * kernel can live with that.
 */
#define _GNU_SOURCE
#include "page_hinting_load.h"

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define DEBUGFS		"/sys/kernel/debug/"
#define NTH_MAX		2000
/* Blocks of hundreds of pages may be held back for a while by others. */
#define LEAK		MIB(4)
/* More than the last function has, less than comes after it. */
#define CODE_SIZE	0x200

static char balloon[64];

/* Write a text while the @nth allocation fails. Was there one? */
static bool write_failing(const char *path, const char *text, int nth, int *err)
{
	int fail = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	char left[16] = "", number[16];
	bool failed;

	snprintf(number, sizeof(number), "%d", nth);
	if (fail < 0 || fd < 0 || write(fail, number, strlen(number)) < 0)
		ksft_exit_fail_perror(fail < 0 ? FAIL_NTH : path);
	*err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	if (pread(fail, left, sizeof(left) - 1, 0) < 0)
		ksft_exit_fail_perror(FAIL_NTH);
	failed = !strtoul(left, NULL, 10);
	if (!failed && pwrite(fail, "0", 1, 0) < 0)
		ksft_exit_fail_perror(FAIL_NTH);
	close(fail);
	close(fd);
	return failed;
}

/* The balloon is bound without hints where they could not be started. */
static int test_bind(void)
{
	size_t before = 0, after = 0;
	bool failed = true;
	int nth, err = 0;

	for (nth = 1; failed && !err && nth < NTH_MAX; nth++) {
		if (write_text(BALLOON_DIR "unbind", balloon))
			return KSFT_FAIL;
		/* Nothing is in flight now. The first time allocates more. */
		after = free_memory();
		before = nth == 2 ? after : before;
		failed = write_failing(BALLOON_DIR "bind", balloon, nth, &err);
	}
	ksft_print_msg("%d allocations; %zd KiB less is free\n", nth - 2,
		       (ssize_t)(before - after) / 1024);
	return pass_if(nth > 3 && !failed && !err && before < after + LEAK &&
		       hints_arrive());
}

/* Where it cannot be started, it is off and says so, and can be later. */
static int test_enable(void)
{
	bool failed = true, good = true;
	int nth, err, refused = 0;

	for (nth = 1; failed && good && nth < NTH_MAX; nth++) {
		set_tunable("enabled", 0);
		failed = write_failing(HINT_DIR "enabled", "1", nth, &err);
		refused += !!err;
		good = get_tunable("enabled") == !err;
	}
	ksft_print_msg("%d allocations, %d of them needed\n", nth - 1, refused);
	return pass_if(good && refused && !failed && hints_arrive());
}

/* The old size comes back where the new one cannot be had. */
static int test_entries(void)
{
	bool failed = true, good = true;
	int nth, err, refused = 0;

	for (nth = 1; failed && good && nth < NTH_MAX; nth++) {
		set_tunable("capture_entries", 1024);
		failed = write_failing(HINT_DIR "capture_entries", "2048", nth,
				       &err);
		refused += !!err;
		good = get_tunable("capture_entries") == (err ? 1024 : 2048) &&
		       get_tunable("enabled");
	}
	ksft_print_msg("%d allocations, %d of them needed\n", nth - 1, refused);
	return pass_if(good && refused && !failed && hints_arrive());
}

static const struct test tests[] = {
	{ "a device is bound", test_bind },
	{ "it is switched on", test_enable },
	{ "the arrays change", test_entries },
};

/* Where the code is under which allocations fail. */
static void find_code(unsigned long *start, unsigned long *end)
{
	static const char * const names[] = {
		"hint_start", "page_hinting_register", "hint_set_wanted",
		"hint_set_capture_entries",
	};
	FILE *symbols = fopen("/proc/kallsyms", "r");
	unsigned long address;
	char name[256];
	size_t i;

	if (!symbols)
		ksft_exit_fail_perror("/proc/kallsyms");
	*start = -1UL;
	*end = 0;
	while (fscanf(symbols, "%lx %*c %255s%*[^\n]", &address, name) == 2) {
		for (i = 0; i < ARRAY_SIZE(names); i++) {
			if (strcmp(name, names[i]))
				continue;
			*start = address < *start ? address : *start;
			*end = address > *end ? address : *end;
		}
	}
	fclose(symbols);
	if (!*end)
		ksft_exit_fail_msg("the kernel shows no addresses\n");
	*end += CODE_SIZE;
}

static void write_fault(const char *fault, const char *name, const char *format,
			unsigned long value)
{
	char path[128], text[32];
	int err;

	snprintf(path, sizeof(path), DEBUGFS "%s/%s", fault, name);
	snprintf(text, sizeof(text), format, value);
	err = write_text(path, text);
	if (err)
		ksft_exit_fail_msg("%s: %s\n", path, strerror(-err));
}

static void set_up(const char *fault)
{
	unsigned long start, end;

	find_code(&start, &end);
	write_fault(fault, "require-start", "%#lx", start);
	write_fault(fault, "require-end", "%#lx", end);
	write_fault(fault, "stacktrace-depth", "%lu", 32);
	write_fault(fault, "ignore-gfp-wait", "%lu", 0);
	write_fault(fault, "verbose", "%lu", 0);
}

int main(void)
{
	ksft_print_header();
	require_hinting();
	if (access(FAIL_NTH, W_OK) || !find_balloon(balloon, sizeof(balloon)))
		ksft_exit_skip("no " FAIL_NTH "\n");
	set_up("failslab");
	set_up("fail_page_alloc");
	write_fault("fail_page_alloc", "min-order", "%lu", 0);
	run_tests(tests, ARRAY_SIZE(tests));
}
