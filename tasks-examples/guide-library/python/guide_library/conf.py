"""The options of the library, which the operator sets in [guide_library]."""

from oslo_config import cfg

guide_library_group = cfg.OptGroup(
    'guide_library',
    title='Options of the guide library')

guide_library_opts = [
    cfg.StrOpt('ticket_queue',
               required=True,
               help='Queue in which the ticket is opened'),
    cfg.StrOpt('note_prefix',
               default='recovery',
               help='What each note in the ticket begins with'),
    cfg.IntOpt('max_servers',
               default=0,
               min=0,
               help='Stop the flow when the host has more servers; 0: never'),
]


def register_opts(conf):
    conf.register_group(guide_library_group)
    conf.register_opts(guide_library_opts, group=guide_library_group)
