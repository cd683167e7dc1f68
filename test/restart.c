// SPDX-License-Identifier: GPL-2.0
/*
 * usage: restart reboot|kexec FAULT
 *
 * A kernel comes to its end, and another one to life, while the host has some
 * of the memory. The device must not answer the new one what the old one asked.
 */
#define _GNU_SOURCE
#include <sys/reboot.h>
#include <sys/syscall.h>

#include "host.h"
#include "page_hinting_load.h"

#define SETTLE_MS	1000

/* The same kernel, command line and initramfs again. */
static void load_kernel(void)
{
	int kernel = open("/bzImage", O_RDONLY | O_CLOEXEC);
	int initrd = open("/sys/firmware/initrd", O_RDONLY | O_CLOEXEC);
	char line[4096];

	if (read_text("/proc/cmdline", line, sizeof(line)) ||
	    syscall(SYS_kexec_file_load, kernel, initrd, strlen(line) + 1, line, 0))
		ksft_exit_fail_perror("kexec_file_load");
}

static void restart(const char *how, const char *fault)
{
	long deadline = now_ms() + PATIENCE_MS;
	bool kexec = !strcmp(how, "kexec");
	unsigned long kib;

	if (kexec)
		load_kernel();
	set_fault(fault);
	munmap(touch(STEP, MADV_NOHUGEPAGE), STEP);
	do
		kib = get_tunable("inflight_kb");
	while (!kib && now_ms() < deadline);
	if (!kib)
		ksft_exit_fail_msg("nothing is in flight\n");
	ksft_print_msg("%s with %lu KiB in flight\n", how, kib);
	fflush(stdout);
	reboot(kexec ? RB_KEXEC : RB_AUTOBOOT);
	ksft_exit_fail_perror(how);
}

/* What the host holds back goes out now: to this kernel, and to none before it. */
static int test_content(void)
{
	size_t i, len = meminfo_bytes("MemAvailable") / 2, lost = 0;
	char *mem = touch(len, MADV_NOHUGEPAGE);

	set_fault("none");
	sleep_ms(SETTLE_MS);
	for (i = 0; i < len; i++)
		lost += mem[i] != 1;
	munmap(mem, len);
	ksft_print_msg("%zu of %zu bytes lost\n", lost, len);
	return pass_if(!lost);
}

static int test_hints(void)
{
	return pass_if(hints_arrive());
}

static const struct test tests[] = {
	{ "the memory of the next kernel keeps its content", test_content },
	{ "it hints", test_hints },
};

int main(int argc, char **argv)
{
	if (argc != 3)
		ksft_exit_fail_msg("usage: %s reboot|kexec FAULT\n", argv[0]);
	require_hinting();
	ask_balloon("x-hinting-fault");
	if (!strstr(host_answer, argv[2]))
		restart(argv[1], argv[2]);
	ksft_print_header();
	run_tests(tests, ARRAY_SIZE(tests));
}
