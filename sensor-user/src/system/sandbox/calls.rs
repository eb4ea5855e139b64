//! seccomp: which system calls a thread and those that it starts can make.
//!
//! The process has a list of what is refused, threads that parse what others wrote a list of what is
//! allowed. What is not is answered with `EPERM`: nothing is killed, so that no library that tries
//! something unforeseen ends enforcement. `clone3` is answered with `ENOSYS`, because its flags cannot
//! be looked at; the C library then uses `clone`, whose flags can.

use std::{collections::BTreeMap, env::consts::ARCH};

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use super::Part;

type Number = libc::c_long;
/// System calls, each with the cases of which one must hold; none: always.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// What no part does: run, trace or look into programs, change what the host is made of, look into
/// kernel or other processes by the back door.
const REFUSED: [Number; 46] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_open_by_handle_at,
    libc::SYS_personality,
    libc::SYS_mknodat,
    libc::SYS_vhangup,
];

/// The same, of this architecture only.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[Number] = &[
    libc::SYS_kexec_file_load,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_mknod,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[Number] = &[];

/// What a thread does that computes, waits, talks over what is open, and reads and writes files as
/// far as Landlock lets it.
const ORDINARY: [Number; 84] = [
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // Threads, time, signals to itself.
    libc::SYS_futex,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    libc::SYS_prlimit64,
    // What is open.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    // Files.
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
];

/// The same by their older names, which this architecture has.
#[cfg(target_arch = "x86_64")]
const ORDINARY_HERE: &[Number] = &[
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_readlink,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_time,
    libc::SYS_arch_prctl,
    libc::SYS_getdents,
];
#[cfg(not(target_arch = "x86_64"))]
const ORDINARY_HERE: &[Number] = &[libc::SYS_faccessat, libc::SYS_renameat];

/// What it takes to ask a server, and to shut the thread in that does.
const ASKING: [Number; 7] = [
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
];

/// Flags of clone(2) that make namespaces. `CLONE_NEWTIME` is none of them: its bit is the signal's.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Sockets that the process makes.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// What ioctl(2) is used for on what is open: bytes that wait, waiting or not, whether it is a terminal.
const CONTROLS: [u64; 3] = [libc::FIONREAD, libc::FIONBIO, libc::TCGETS];

/// What prctl(2) is used for: the thread's name, and to forswear new privileges.
const OWN_AFFAIRS: [libc::c_int; 4] =
    [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_NO_NEW_PRIVS, libc::PR_GET_NO_NEW_PRIVS];

/// Whether this kernel filters system calls.
pub(super) fn is_offered() -> bool {
    std::path::Path::new("/proc/sys/kernel/seccomp/actions_avail").exists()
}

/// Shuts the process in.
pub(super) fn confine() -> Result<(), String> {
    let build = || {
        let unseen = Calls::from([(libc::SYS_clone3, Vec::new())]);
        install(unseen, SeccompAction::Allow, refusal(libc::ENOSYS))?;
        install(refused()?, SeccompAction::Allow, refusal(libc::EPERM))
    };
    build().map_err(|error: seccompiler::Error| error.to_string())
}

/// Shuts the calling thread in further.
pub(super) fn enter(part: Part) -> Result<(), String> {
    let asks = match part {
        Part::Api | Part::Signals => false,
        Part::Feeds => true,
        // Within the filter of `feeds`, which has started it.
        Part::Fetch { .. } => return Ok(()),
    };
    allowed(asks)
        .and_then(|calls| install(calls, refusal(libc::EPERM), SeccompAction::Allow))
        .map_err(|error| error.to_string())
}

const fn refusal(errno: libc::c_int) -> SeccompAction {
    SeccompAction::Errno(errno.cast_unsigned())
}

fn refused() -> Result<Calls, seccompiler::Error> {
    let mut calls: Calls =
        REFUSED.iter().chain(REFUSED_HERE).map(|number| (*number, Vec::new())).collect();
    calls.insert(
        libc::SYS_clone,
        NAMESPACES.iter().map(|flag| has(0, *flag)).collect::<Result<_, _>>()?,
    );
    let other: Result<Vec<SeccompCondition>, BackendError> =
        FAMILIES.iter().map(|family| compare(0, SeccompCmpOp::Ne, widened(*family))).collect();
    calls.insert(libc::SYS_socket, vec![SeccompRule::new(other?)?]);
    Ok(calls)
}

fn allowed(asks: bool) -> Result<Calls, seccompiler::Error> {
    let mut calls: Calls =
        ORDINARY.iter().chain(ORDINARY_HERE).map(|number| (*number, Vec::new())).collect();
    // Threads, and no processes.
    calls.insert(libc::SYS_clone, vec![has(0, libc::CLONE_THREAD)?]);
    calls.insert(libc::SYS_ioctl, one_of(1, CONTROLS)?);
    calls.insert(libc::SYS_prctl, one_of(0, OWN_AFFAIRS.map(widened))?);
    let own = u64::from(std::process::id());
    calls.insert(libc::SYS_tgkill, one_of(0, [own])?);
    if asks {
        calls.extend(ASKING.iter().map(|number| (*number, Vec::new())));
        calls.insert(libc::SYS_socket, one_of(0, FAMILIES.map(widened))?);
    }
    Ok(calls)
}

/// A case for each of these values of an argument.
fn one_of<const N: usize>(
    argument: u8,
    values: [u64; N],
) -> Result<Vec<SeccompRule>, BackendError> {
    let rule = |value| SeccompRule::new(vec![compare(argument, SeccompCmpOp::Eq, value)?]);
    values.into_iter().map(rule).collect()
}

/// The case that a flag is set.
fn has(argument: u8, flag: libc::c_int) -> Result<SeccompRule, BackendError> {
    let flag = widened(flag);
    SeccompRule::new(vec![compare(argument, SeccompCmpOp::MaskedEq(flag), flag)?])
}

/// The kernel takes these arguments as 32 bits and does not look at the rest, nor do we.
fn compare(argument: u8, how: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value)
}

fn widened(value: libc::c_int) -> u64 {
    u64::from(value.cast_unsigned())
}

fn install(
    calls: Calls,
    otherwise: SeccompAction,
    then: SeccompAction,
) -> Result<(), seccompiler::Error> {
    let architecture = TargetArch::try_from(ARCH)?;
    let filter: BpfProgram =
        SeccompFilter::new(calls, otherwise, then, architecture)?.try_into()?;
    seccompiler::apply_filter(&filter)
}
