/**
 * Errors of connections between hosts. The message always names the peer and says what to do.
 *
 * LINK_REFUSED         nothing listens there
 * LINK_UNREACHABLE     no route, no such name, the network is down
 * LINK_TIMEOUT         no answer in time (dial, handshake, hello, expect)
 * LINK_CERTIFICATE     a certificate was not accepted, theirs by us or ours by them
 * LINK_PEER_REFUSED    the other side said why it does not talk to us; `fields.peerCode` is its code
 * LINK_PEER_FAILED     the other side reported a failure later on; `fields.peerCode` and `fields.guest`
 * LINK_VERSION         the two sides speak different protocol versions
 * LINK_PROTOCOL        bytes or messages that the protocol does not allow
 * LINK_LOST            the connection ended while it was in use
 * LINK_CLOSED          this side has closed the connection
 * LINK_CANCELLED       the caller's AbortSignal
 * LINK_NOT_TRUSTED     listener only: a valid certificate of a host that is not on the list
 * LINK_BUSY            listener only: too many connections
 */
import { AppError } from '../../core/base/errors.ts';

export type LinkErrorCode =
  | 'LINK_REFUSED'
  | 'LINK_UNREACHABLE'
  | 'LINK_TIMEOUT'
  | 'LINK_CERTIFICATE'
  | 'LINK_PEER_REFUSED'
  | 'LINK_PEER_FAILED'
  | 'LINK_VERSION'
  | 'LINK_PROTOCOL'
  | 'LINK_LOST'
  | 'LINK_CLOSED'
  | 'LINK_CANCELLED'
  | 'LINK_NOT_TRUSTED'
  | 'LINK_BUSY';

export class LinkError extends AppError<LinkErrorCode> {}

export class PkiError extends AppError<
  | 'PKI_EXISTS'
  | 'PKI_NO_AUTHORITY'
  | 'PKI_HOST_NAME'
  | 'PKI_ADDRESS'
  | 'PKI_DAYS'
  | 'PKI_AUTHORITY_EXPIRED'
  | 'PKI_FOLDER'
> {}

export class IdentityError extends AppError<
  | 'IDENTITY_MISSING'
  | 'IDENTITY_UNREADABLE'
  | 'IDENTITY_EXPIRED'
  | 'IDENTITY_NOT_YET_VALID'
  | 'IDENTITY_WRONG_CA'
  | 'IDENTITY_KEY_MISMATCH'
  | 'IDENTITY_NAME'
> {}
