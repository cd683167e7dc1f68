// SPDX-License-Identifier: GPL-2.0
/*
 * The module of the balloon is unloaded and loaded while memory is freed.
 */
#define _GNU_SOURCE
#include <sys/syscall.h>

#include "page_hinting_load.h"

#define MODULE		"virtio_balloon"

static int test_reload(void)
{
	int fd = open("/" MODULE ".ko", O_RDONLY | O_CLOEXEC);
	int i, err = 0;
	bool lived;

	if (fd < 0)
		return KSFT_SKIP;
	start_churn();
	for (i = 0; i < LOOPS && !err; i++) {
		sleep_ms(150);
		err = syscall(SYS_delete_module, MODULE, 0);
		sleep_ms(50);
		err = err ?: syscall(SYS_finit_module, fd, "", 0);
	}
	if (err)
		ksft_print_msg("after %d times: %s\n", i, strerror(errno));
	lived = stop_churn();
	close(fd);
	return pass_if(!err && lived && hints_arrive());
}

static const struct test tests[] = {
	{ "the module goes and comes", test_reload },
};

int main(void)
{
	ksft_print_header();
	require_hinting();
	run_tests(tests, ARRAY_SIZE(tests));
}
