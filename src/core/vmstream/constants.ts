/**
 * The numbers of QEMU's migration stream, each with its name in QEMU. Everything multi-byte is big endian.
 * Layout and facts: docs/qemu-stream.md. Valid for plain precopy from QEMU 7.2 to 10.2.
 */

/** QEMU_VM_FILE_MAGIC, "QEVM" */
export const FILE_MAGIC = 0x5145564d;
/** QEMU_VM_FILE_VERSION */
export const FILE_VERSION = 3;

export const Element = {
  Eof: 0x00, // QEMU_VM_EOF
  SectionStart: 0x01, // QEMU_VM_SECTION_START
  SectionPart: 0x02, // QEMU_VM_SECTION_PART
  SectionEnd: 0x03, // QEMU_VM_SECTION_END
  SectionFull: 0x04, // QEMU_VM_SECTION_FULL
  Subsection: 0x05, // QEMU_VM_SUBSECTION
  VmDescription: 0x06, // QEMU_VM_VMDESCRIPTION
  Configuration: 0x07, // QEMU_VM_CONFIGURATION
  Command: 0x08, // QEMU_VM_COMMAND
  SectionFooter: 0x7e, // QEMU_VM_SECTION_FOOTER
} as const;

export const Command = {
  OpenReturnPath: 1, // MIG_CMD_OPEN_RETURN_PATH
  Ping: 2, // MIG_CMD_PING
  PostcopyAdvise: 3, // MIG_CMD_POSTCOPY_ADVISE
  PostcopyListen: 4, // MIG_CMD_POSTCOPY_LISTEN
  PostcopyRun: 5, // MIG_CMD_POSTCOPY_RUN
  PostcopyRamDiscard: 6, // MIG_CMD_POSTCOPY_RAM_DISCARD
  Packaged: 7, // MIG_CMD_PACKAGED
  EnableColo: 8, // MIG_CMD_ENABLE_COLO
  PostcopyResume: 9, // MIG_CMD_POSTCOPY_RESUME
  RecvBitmap: 10, // MIG_CMD_RECV_BITMAP
  SwitchoverStart: 11, // MIG_CMD_SWITCHOVER_START, machine types >= 10.0
} as const;

export const RamFlag = {
  Full: 0x001, // RAM_SAVE_FLAG_FULL, dead since 2009
  Zero: 0x002, // RAM_SAVE_FLAG_ZERO
  MemSize: 0x004, // RAM_SAVE_FLAG_MEM_SIZE
  Page: 0x008, // RAM_SAVE_FLAG_PAGE
  Eos: 0x010, // RAM_SAVE_FLAG_EOS
  Continue: 0x020, // RAM_SAVE_FLAG_CONTINUE
  Xbzrle: 0x040, // RAM_SAVE_FLAG_XBZRLE
  Hook: 0x080, // RAM_SAVE_FLAG_HOOK
  CompressPage: 0x100, // RAM_SAVE_FLAG_COMPRESS_PAGE
  MultifdFlush: 0x200, // RAM_SAVE_FLAG_MULTIFD_FLUSH
} as const;

export const ReturnPathType = {
  Shut: 1, // MIG_RP_MSG_SHUT
  Pong: 2, // MIG_RP_MSG_PONG
  RequestPagesId: 3, // MIG_RP_MSG_REQ_PAGES_ID
  RequestPages: 4, // MIG_RP_MSG_REQ_PAGES
  ReceivedBitmap: 5, // MIG_RP_MSG_RECV_BITMAP
  ResumeAck: 6, // MIG_RP_MSG_RESUME_ACK
  SwitchoverAck: 7, // MIG_RP_MSG_SWITCHOVER_ACK, QEMU >= 8.1
} as const;

/** idstr and version of the RAM section: savevm_ram_handlers, register_savevm_live("ram", 0, 4, ...) */
export const RAM_SECTION_NAME = 'ram';
export const RAM_SECTION_VERSION = 4;

/** The target page; low bits of a record's offset hold its flags. TARGET_PAGE_BITS of x86 and of 4 KiB ARM guests. */
export const TARGET_PAGE_BITS = 12;
export const TARGET_PAGE_BYTES = 1 << TARGET_PAGE_BITS;

/** Of a page record: what the guest page was when QEMU looked at it. */
export const PageKind = { Zero: 0, Data: 1 } as const;
export type PageKind = (typeof PageKind)[keyof typeof PageKind];
