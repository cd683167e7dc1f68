// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations fail, each in turn, while hinting starts: it says so, leaves
 * nothing behind, and the next try works. Nothing is allocated after that.
 */
#define _GNU_SOURCE
#include "page_hinting_util.h"

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define DEBUGFS		"/sys/kernel/debug/"
#define NTH_MAX		2000
/* Blocks of hundreds of pages may be held back for a while by others. */
#define LEAK		MIB(4)

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

static bool is_bound(void)
{
	char path[128];

	snprintf(path, sizeof(path), BALLOON_DIR "%s", balloon);
	return !access(path, F_OK);
}

/* The balloon is bound without hints where they could not be started. */
static int test_bind(void)
{
	size_t before = 0, after;
	int nth, err, refused = 0;
	bool failed = true;

	for (nth = 1; failed && nth < NTH_MAX; nth++) {
		if (write_text(BALLOON_DIR "unbind", balloon))
			return KSFT_FAIL;
		/* Once for what only the first failure allocates. */
		if (nth == 20)
			before = free_memory();
		failed = write_failing(BALLOON_DIR "bind", balloon, nth, &err);
		refused += !!err;
		if (!is_bound() && write_text(BALLOON_DIR "bind", balloon))
			return KSFT_FAIL;
	}
	after = free_memory();
	ksft_print_msg("%d allocations, %d of them needed; %zd KiB less is free\n",
		       nth - 1, refused, (ssize_t)(before - after) >> 10);
	return pass_if(nth > 20 && !failed && before < after + LEAK &&
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

static void set_up(const char *fault)
{
	static const char * const quiet[][2] = {
		{ "verbose", "0" }, { "ignore-gfp-wait", "0" },
		{ "min-order", "0" },
	};
	char path[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(quiet); i++) {
		snprintf(path, sizeof(path), DEBUGFS "%s/%s", fault, quiet[i][0]);
		if (write_text(path, quiet[i][1]) && i < 2)
			ksft_exit_fail_msg("cannot write %s\n", path);
	}
}

int main(void)
{
	ksft_print_header();
	require_hinting();
	if (access(FAIL_NTH, W_OK) || !find_balloon(balloon, sizeof(balloon)))
		ksft_exit_skip("no " FAIL_NTH "\n");
	set_up("failslab");
	set_up("fail_page_alloc");
	run_tests(tests, ARRAY_SIZE(tests));
}
